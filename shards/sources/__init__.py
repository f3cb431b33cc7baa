"""Where pictures come from: listings, labels, tars read in place, and sources that can only be read in order."""
