//! What all benchmark programs do alike: the scenarios, whose turn it is, and what is counted.

mod axum_app;
pub mod gate;
mod load;
mod primitive;
mod program;
mod proxy;
mod scenario;
mod visitor;

use std::error::Error;

pub use axum_app::{AxumApp, hello, runtime};
pub use gate::OPEN_PATH;
pub use load::{BARE_PATH, CPU_PATH, IDLE_MAX, cpu};
pub use primitive::Primitive;
pub use program::{Candidate, Place, quartiles, report, run};
pub use scenario::{
    CART, COUNT, EMAIL, Item, Library, NAME, Payload, SEEN, Scenario, TOKEN, cart, cookie_header,
    next_number,
};

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;
