//! One test program: what is tested is the code that ships.

mod file;
