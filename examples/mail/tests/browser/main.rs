//! Walks the demo in a real browser. `cargo xtask test-all` starts chromedriver for it; by hand: `cargo xtask services`.

#[cfg(test)]
mod support;

mod account;
mod appearance;
mod cookies;
mod counter;
mod devices;
mod mail;
mod scripts;
