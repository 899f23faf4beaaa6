//! What is told while a command works: a bar that moves on a terminal, and a line now and then elsewhere.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use session_core::store::StoreKey;

/// How progress is told. It goes to standard error, so that what the command has to say stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// One line that is written over and over.
    Bar,
    /// A line now and then.
    Lines,
    /// Nothing.
    Silent,
}

impl Voice {
    /// What suits whoever reads.
    pub(crate) fn suiting() -> Self {
        if io::stderr().is_terminal() {
            Self::Bar
        } else {
            Self::Lines
        }
    }

    const fn pause(self) -> Duration {
        match self {
            Self::Bar => Duration::from_millis(100),
            _ => Duration::from_secs(5),
        }
    }
}

/// How far one piece of work has come.
#[derive(Debug)]
pub(crate) struct Progress {
    voice: Voice,
    what: &'static str,
    told: Option<Instant>,
    /// How often it was told.
    times: u32,
}

impl Progress {
    pub(crate) const fn new(voice: Voice, what: &'static str) -> Self {
        Self {
            voice,
            what,
            told: None,
            times: 0,
        }
    }

    /// Tells how much is done, and how much of the whole that is, if anybody knows: otherwise something moves in the bar. The first
    /// time at once, and then not too often.
    pub(crate) fn at(&mut self, part: Option<f64>, done: impl Display) {
        let is_early = self
            .told
            .is_some_and(|told| told.elapsed() < self.voice.pause());
        if self.voice == Voice::Silent || is_early {
            return;
        }
        self.told = Some(Instant::now());
        let line = match self.voice {
            Voice::Bar => bar(self.what, part, &done.to_string(), self.times),
            _ => line(self.what, part, &done.to_string()),
        };
        self.times = self.times.wrapping_add(1);
        let mut out = io::stderr().lock();
        // There is nobody to tell if even this fails.
        drop(match self.voice {
            Voice::Bar => write!(out, "\r{line}\x1b[K").and_then(|()| out.flush()),
            _ => writeln!(out, "{line}"),
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.voice == Voice::Bar && self.told.is_some() {
            drop(write!(io::stderr().lock(), "\r\x1b[K"));
        }
    }
}

fn line(what: &str, part: Option<f64>, done: &str) -> String {
    match part {
        Some(part) => format!("{what}: {:.0} %, {done}", part.clamp(0.0, 1.0) * 100.0),
        None => format!("{what}: {done}"),
    }
}

/// How many cells a bar has.
const WIDTH: u32 = 24;

/// How many of them move to and fro where nobody knows what the whole is.
const MOVING: u32 = 4;

fn bar(what: &str, part: Option<f64>, done: &str, times: u32) -> String {
    let Some(part) = part.map(|part| part.clamp(0.0, 1.0)) else {
        let way = WIDTH - MOVING;
        let step = times % (2 * way);
        let first = step.min(2 * way - step);
        let cells = cells(|cell| (first..first + MOVING).contains(&cell));
        return format!("{what} {cells} {done}");
    };
    let cells = cells(|cell| f64::from(cell) < part * f64::from(WIDTH));
    format!("{what} {cells} {:>3.0} %  {done}", part * 100.0)
}

fn cells(is_filled: impl Fn(u32) -> bool) -> String {
    (0..WIDTH)
        .map(|cell| if is_filled(cell) { '█' } else { '░' })
        .collect()
}

/// Which part of the way through all keys is done at this one. Keys are hashes, so that a tenth of them begins below a tenth of
/// all that a hash may be.
pub(crate) fn part_before(key: &StoreKey) -> Option<f64> {
    let first = key.as_str().get(..8)?;
    let first = u32::from_str_radix(first, 16).ok()?;
    Some(f64::from(first) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_filled_as_far_as_the_work_is_done() {
        for (part, filled) in [(0.0, 0), (0.5, 12), (1.0, 24), (7.0, 24)] {
            let bar = bar("counting", Some(part), "5 sessions", 0);
            assert_eq!(bar.matches('█').count(), filled, "{bar}");
            assert_eq!(bar.matches('░').count(), 24 - filled, "{bar}");
        }
    }

    #[test]
    fn a_bar_of_nobody_knows_how_much_moves_to_and_fro() {
        let first = |times| bar("removed", None, "5 sessions", times).find('█').unwrap();
        let firsts: Vec<_> = [0, 1, 20, 21, 39, 40].map(first).into();
        let cell = '█'.len_utf8();
        let left = "removed ".len();
        assert_eq!(
            firsts,
            [0, 1, 20, 19, 1, 0].map(|cells| left + cells * cell)
        );
        for times in 0..100 {
            let bar = bar("removed", None, "5 sessions", times);
            assert_eq!(bar.matches('█').count(), 4, "{bar}");
            assert_eq!(bar.matches('░').count(), 20, "{bar}");
        }
    }

    #[test]
    fn a_line_says_the_same_without_a_bar() {
        assert_eq!(line("counting", None, "5 sessions"), "counting: 5 sessions");
        assert_eq!(
            line("counting", Some(0.25), "5 sessions"),
            "counting: 25 %, 5 sessions"
        );
    }

    #[test]
    fn a_key_says_how_far_the_walk_has_come() {
        let part = |text: &str| part_before(&StoreKey::parse(text).unwrap());
        assert_eq!(part(&"0".repeat(40)), Some(0.0));
        assert_eq!(part(&"f".repeat(40)), Some(1.0));
        assert!(part(&"8".repeat(40)).is_some_and(|part| (0.5..0.6).contains(&part)));
        assert_eq!(part("zz"), None, "a short key says nothing");
    }
}
