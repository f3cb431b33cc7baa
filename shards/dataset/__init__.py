"""The dataset directory: manifest, samples, shard format, cache for remote shards, verification."""
