"""The mean image, the RGB moments and their eigenbasis."""
