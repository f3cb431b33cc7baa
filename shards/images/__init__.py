"""One picture file to one JPEG: decoding, rescaling, encoding."""
