"""Write a dataset directory: plan, deal, write each shard, then the manifest."""
