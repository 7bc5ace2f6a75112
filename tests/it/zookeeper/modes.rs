//! Several holders, the watches that wake them, and the names of other families.
