//! What the pages say, and that they can be read whatever is in them.
