//! Where dlock itself stops the command: when, how, and what the run ends with. The manual is quoted where a test holds it.

mod limits;
mod losses;
mod precedence;
mod trees;
