//! Where sessions are: what a store is named by on a command line, and what of that may be shown.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::outcome::Failure;

/// A place for sessions. It may hold a password: `Debug` and `Display` show none.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    File(PathBuf),
    Database(Database),
    Redis(Redis),
    Cached { cache: Redis, database: Database },
}

/// A database by its URL, and the table in it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) url: Zeroizing<String>,
    pub(crate) table: Option<String>,
}

/// A Redis by its URL, and what its keys begin with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Redis {
    pub(crate) url: Zeroizing<String>,
    pub(crate) prefix: Option<String>,
}

/// A place, and whether whoever lists this machine's processes could read its password.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) place: Place,
    pub(crate) shows_password: bool,
}

/// The schemes of databases' URLs.
const DATABASES: [&str; 5] = ["sqlite", "postgres", "postgresql", "mysql", "mariadb"];

/// The schemes of Redis' URLs.
const CACHES: [&str; 7] = [
    "redis",
    "rediss",
    "unix",
    "redis-sentinel",
    "rediss-sentinel",
    "redis-cluster",
    "rediss-cluster",
];

// What was given is not in it: it may hold a password.
const ADVICE: &str = "this names no store; write file:DIR, sqlite:FILE, postgres://…, mysql://…, redis://…, redis-sentinel://…, redis-cluster://…, cached:REDIS+DATABASE, env:VARIABLE or @FILE (`sessions help stores` says more)";

impl Named {
    /// The place that a word of the command line names: by itself, by `env:VARIABLE` or by `@FILE`.
    pub(crate) fn parse(word: &OsStr) -> Result<Self, Failure> {
        if let Some(variable) = word.to_str().and_then(|word| word.strip_prefix("env:")) {
            return Self::in_variable(variable);
        }
        if let Some(file) = after(word, "@") {
            return Self::in_file(Path::new(&file));
        }
        let place = Place::parse(word)?;
        Ok(Self {
            shows_password: place.has_password(),
            place,
        })
    }

    /// The place that an environment variable names.
    pub(crate) fn in_variable(variable: &str) -> Result<Self, Failure> {
        let named = std::env::var_os(variable).ok_or_else(|| {
            Failure::Misused(format!("the environment variable {variable} is not set"))
        })?;
        Self::unseen(&named, &format!("in the environment variable {variable}"))
    }

    /// The place that the first line of a file names.
    pub(crate) fn in_file(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| {
            Failure::Misused(format!("{} can't be read: {error}", path.display()))
        })?;
        let line = text.lines().next().unwrap_or_default().trim();
        Self::unseen(OsStr::new(line), &format!("in {}", path.display()))
    }

    fn unseen(word: &OsStr, origin: &str) -> Result<Self, Failure> {
        let place = Place::parse(word)
            .map_err(|mistake| Failure::Misused(format!("{origin}: {mistake}")))?;
        Ok(Self {
            place,
            shows_password: false,
        })
    }
}

impl Place {
    fn parse(word: &OsStr) -> Result<Self, Failure> {
        // A folder's name need not be UTF-8.
        if let Some(folder) = after(word, "file:") {
            if folder.is_empty() {
                return Err(misused(
                    "file: needs a folder, as in file:/var/lib/shop/sessions",
                ));
            }
            return Ok(Self::File(PathBuf::from(folder)));
        }
        let text = word.to_str().ok_or_else(|| misused(ADVICE))?;
        let Some(both) = text.strip_prefix("cached:") else {
            return match () {
                () if is_of(&DATABASES, text) => Ok(Self::Database(Database::parse(text)?)),
                () if is_of(&CACHES, text) => Ok(Self::Redis(Redis::parse(text)?)),
                () => Err(misused(ADVICE)),
            };
        };
        // A URL of a database begins behind a plus; a password in Redis' URL may hold one as well.
        let mut splits = both
            .match_indices('+')
            .filter_map(|(at, _)| both.split_at_checked(at));
        let found = splits.find_map(|(cache, behind)| {
            let database = behind.get(1..)?;
            (is_of(&CACHES, cache) && is_of(&DATABASES, database)).then_some((cache, database))
        });
        let (cache, database) = found.ok_or_else(|| {
            misused("cached: needs a Redis and a database, as in cached:redis://127.0.0.1/+postgres://127.0.0.1/shop")
        })?;
        Ok(Self::Cached {
            cache: Redis::parse(cache)?,
            database: Database::parse(database)?,
        })
    }

    fn has_password(&self) -> bool {
        match self {
            Self::File(_) => false,
            Self::Database(Database { url, .. }) | Self::Redis(Redis { url, .. }) => {
                has_password(url)
            }
            Self::Cached { cache, database } => {
                has_password(&cache.url) || has_password(&database.url)
            }
        }
    }
}

impl Database {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (url, table) = option(text, "#table=");
        if is_of(&["sqlite"], url) && (url.contains(":memory:") || url.contains("mode=memory")) {
            return Err(misused(
                "a database in memory is another process's own; name a file, as in sqlite:app.db",
            ));
        }
        Ok(Self {
            url: Zeroizing::new(url.to_owned()),
            table,
        })
    }

    /// The file of a SQLite database.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let path = self.url.strip_prefix("sqlite:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        let path = path.split_once('?').map_or(path, |(path, _options)| path);
        Some(PathBuf::from(unescaped(path)))
    }
}

impl Redis {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (url, prefix) = option(text, "#prefix=");
        Ok(Self {
            url: Zeroizing::new(url.to_owned()),
            prefix,
        })
    }
}

/// What a store's URL does not say, at its end.
fn option<'a>(text: &'a str, name: &str) -> (&'a str, Option<String>) {
    match text.rsplit_once(name) {
        Some((url, value)) => (url, Some(value.to_owned())),
        None => (text, None),
    }
}

/// What follows `prefix` in a word that need not be UTF-8.
fn after(word: &OsStr, prefix: &str) -> Option<OsString> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;
        let rest = word.as_bytes().strip_prefix(prefix.as_bytes())?;
        Some(OsStr::from_bytes(rest).to_owned())
    }
    #[cfg(not(unix))]
    word.to_str()?.strip_prefix(prefix).map(OsString::from)
}

fn misused(advice: &str) -> Failure {
    Failure::Misused(advice.to_owned())
}

/// Whether a URL has one of these schemes.
fn is_of(schemes: &[&str], url: &str) -> bool {
    url.split_once(':')
        .is_some_and(|(scheme, _)| schemes.contains(&scheme))
}

fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let before_host = rest.rsplit_once('@').map_or("", |(before, _)| before);
    let in_front = before_host
        .split_once(':')
        .is_some_and(|(_, password)| !password.is_empty());
    let options = rest.split_once('?').map_or("", |(_, options)| options);
    let is_secret = |name: &str| matches!(name, "pass" | "password");
    in_front
        || options
            .split('&')
            .filter_map(|option| option.split_once('='))
            .any(|(name, _)| is_secret(name))
}

/// Host and path of a URL. Nothing if it is not clear which part of it may be a password.
fn address(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) => host,
        None if is_address(rest) => rest,
        None => return None,
    };
    Some(rest.split(['?', '#']).next().unwrap_or_default())
}

/// Whether colons have nothing but ports behind them.
fn is_address(rest: &str) -> bool {
    let hosts = rest.split(['/', '?']).next().unwrap_or_default();
    hosts.split(',').all(|host| match host.rsplit_once(':') {
        Some((name, port)) => {
            !name.is_empty()
                && (name.starts_with('[') || !name.contains(':'))
                && port.bytes().all(|digit| digit.is_ascii_digit())
        }
        None => true,
    })
}

/// A path of which the URL may have written some bytes as %XX.
fn unescaped(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let escaped = match rest {
            [b'%', high, low, behind @ ..] => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .map(|byte| (byte, behind)),
            _ => None,
        };
        let (byte, behind) = escaped.unwrap_or((first, others));
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(folder) => write!(f, "file:{}", folder.display()),
            Self::Database(database) => database.fmt(f),
            Self::Redis(redis) => redis.fmt(f),
            Self::Cached { cache, database } => write!(f, "cached:{cache}+{database}"),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file() {
            Some(file) => write!(f, "sqlite:{}", file.display())?,
            None => write_url(f, &self.url)?,
        }
        self.table
            .iter()
            .try_for_each(|table| write!(f, "#table={table}"))
    }
}

impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_url(f, &self.url)?;
        self.prefix
            .iter()
            .try_for_each(|prefix| write!(f, "#prefix={prefix}"))
    }
}

fn write_url(f: &mut fmt::Formatter<'_>, url: &str) -> fmt::Result {
    let scheme = url.split(':').next().unwrap_or_default();
    write!(f, "{scheme}://{}", address(url).unwrap_or("…"))
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(word: &str) -> Result<Named, String> {
        Named::parse(OsStr::new(word)).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn a_place_is_shown_without_what_is_secret_in_it() {
        for (word, shown, shows_password) in [
            ("file:a/b:c", "file:a/b:c", false),
            ("sqlite:app.db", "sqlite:app.db", false),
            (
                "sqlite:///var/x%20y.db?mode=rw",
                "sqlite:/var/x y.db",
                false,
            ),
            ("postgres://db:5432/shop", "postgres://db:5432/shop", false),
            ("postgres://ada@db/shop", "postgres://db/shop", false),
            (
                "postgres://ada:engine@db/shop#table=auth.visits",
                "postgres://db/shop#table=auth.visits",
                true,
            ),
            (
                "postgres://db/shop?password=engine",
                "postgres://db/shop",
                true,
            ),
            ("mysql://ada:e/n:g@ine@db/shop", "mysql://db/shop", true),
            (
                "redis://:engine@h/0#prefix=shop:",
                "redis://h/0#prefix=shop:",
                true,
            ),
            ("redis://:engine", "redis://…", false),
            ("redis://[::1]:6379/0", "redis://[::1]:6379/0", false),
            (
                "redis-cluster://u:engine@h1:1,h2:2",
                "redis-cluster://h1:1,h2:2",
                true,
            ),
            (
                "unix:///run/redis.sock?pass=engine",
                "unix:///run/redis.sock",
                true,
            ),
            (
                "cached:redis://:a+b:c@h/0#prefix=s:+sqlite:x+y.db#table=t",
                "cached:redis://h/0#prefix=s:+sqlite:x+y.db#table=t",
                true,
            ),
        ] {
            let named = named(word).expect(word);
            assert_eq!(named.place.to_string(), shown);
            assert_eq!(format!("{:?}", named.place), format!("Place({shown})"));
            assert_eq!(named.shows_password, shows_password, "{word}");
        }
    }

    #[test]
    fn what_names_no_store_is_refused_and_not_repeated() {
        for word in [
            "",
            "engine",
            "postgress://u:engine@h/d",
            "memory",
            "cached:redis://:engine@h/",
            "cached:sqlite:engine+sqlite:b",
            "sqlite::memory:",
            "file:",
            "env:SESSION_CLI_IS_NOT_SET",
            "@/no/such/file",
        ] {
            let mistake = named(word).expect_err(word);
            assert!(!mistake.contains("engine"), "{mistake}");
        }
    }
}
