//! The tool as an operator meets it: what it does to stores of files and SQLite, what it says, and how it ends.
#![cfg(all(feature = "file", feature = "sqlite"))]

#[cfg(test)]
mod support;
#[cfg(test)]
mod writers;

#[cfg(test)]
mod command_line;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod maintenance;
#[cfg(test)]
mod owned;
#[cfg(test)]
mod secrets;
