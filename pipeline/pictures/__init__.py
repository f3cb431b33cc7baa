"""Pictures for people, drawn by Pillow: boxes of text and pixels, rendered views, the preview sheet."""
