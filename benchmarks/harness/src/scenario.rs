//! What is measured, for whom.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::Result;

/// A library with an application of its own around it.
pub trait Library {
    fn name(&self) -> &'static str;

    /// Whether its store can hold the payload.
    fn holds(&self, payload: Payload) -> bool;

    /// What it is measured in.
    fn scenarios(&self) -> &'static [Scenario] {
        &Scenario::ALL
    }

    /// Builds the requests of the next [`answer`](Self::answer), and the sessions that they belong to.
    fn prepare(&mut self, scenario: Scenario, payload: Payload, count: usize) -> Result<()>;

    /// Answers them.
    fn answer(&mut self) -> Result<()>;

    /// Answers whoever connects, for ever.
    fn serve(self: Box<Self>, listener: TcpListener) -> Result<()>;
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// The handler without the layer.
    Bare,
    /// A valid cookie beside two unrelated ones; nobody asks for the session.
    Unasked,
    Read,
    Write,
    /// No cookie; nobody asks.
    NoCookie,
    FirstVisit,
    /// The session gets a new key, and a user.
    LogIn,
    LogOut,
}

impl Scenario {
    pub const ALL: [Self; 8] = [
        Self::Bare,
        Self::Unasked,
        Self::Read,
        Self::Write,
        Self::NoCookie,
        Self::FirstVisit,
        Self::LogIn,
        Self::LogOut,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "s0",
            Self::Unasked => "s1",
            Self::Read => "s2",
            Self::Write => "s3",
            Self::NoCookie => "s4",
            Self::FirstVisit => "s5",
            Self::LogIn => "s6",
            Self::LogOut => "logout",
        }
    }

    pub const fn path(self) -> &'static str {
        match self {
            Self::Bare | Self::Unasked | Self::NoCookie => "/",
            Self::Read => "/read",
            Self::Write | Self::FirstVisit => "/write",
            Self::LogIn => "/login",
            Self::LogOut => "/logout",
        }
    }

    /// Whether the visitor has a session.
    pub const fn has_cookie(self) -> bool {
        !matches!(self, Self::NoCookie | Self::FirstVisit)
    }

    /// Whether a request uses up its session's key.
    pub const fn needs_a_session_each(self) -> bool {
        matches!(self, Self::LogIn | Self::LogOut)
    }
}

/// What is in the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Three names in 125 bytes.
    Small,
    /// The same beside a cart of 505 items, 64 KiB.
    Large,
}

impl Payload {
    pub const ALL: [Self; 2] = [Self::Small, Self::Large];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }

    pub const fn path(self) -> &'static str {
        match self {
            Self::Small => "/seed",
            Self::Large => "/seed-large",
        }
    }
}

pub const NAME: (&str, &str) = ("name", "Ada Lovelace");
pub const EMAIL: (&str, &str) = ("email", "ada.lovelace@analytical-engine.example");
pub const TOKEN: (&str, &str) = ("token", "4f1b0c2d9e8a7766554433221100ffee0123456789");
/// What a write writes: another number each time, since some libraries notice that nothing has changed.
pub const SEEN: &str = "seen";

pub fn next_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(1_000_000);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// A number that requests add one to.
pub const COUNT: &str = "count";

pub const CART: &str = "cart";

#[derive(Debug, Serialize)]
pub struct Item {
    sku: String,
    title: String,
    quantity: u32,
    cents: u64,
    options: [&'static str; 2],
}

pub fn cart() -> Vec<Item> {
    let item = |number: u32| Item {
        sku: format!("SKU-{number:08}"),
        title: format!("A thing that somebody may want, number {number}"),
        quantity: number % 7,
        cents: u64::from(number) * 137,
        options: ["blue", "large"],
    };
    (0..505).map(item).collect()
}

/// The `Cookie` header of a visitor who was sent these `Set-Cookie` headers, beside two cookies of others.
pub fn cookie_header<'a>(set: impl Iterator<Item = &'a str>) -> String {
    let mut header = String::from("theme=dark");
    for cookie in set {
        header.push_str("; ");
        header.push_str(cookie.split(';').next().unwrap_or_default());
    }
    header.push_str("; lang=en");
    header
}
