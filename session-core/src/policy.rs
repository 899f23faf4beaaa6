//! When sessions expire and are renewed, and every limit with its reason.

use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use crate::clock::Timestamp;
use crate::key::KeyPolicy;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Names and raw values of one session, together. A session is read and written as a whole, so that a large one costs
/// every request; what is larger belongs in a table of its own.
pub(crate) const DATA_BYTES_MAX: usize = 1024 * 1024;
/// Names in one session. Look-ups are linear, which beats hashing for the dozen names that sessions have.
pub(crate) const NAMES_MAX: usize = 1024;
/// Names that are read back. A configured limit can't be higher, or sessions would be stored that count as damaged; without
/// one, a forged payload would cost the square of its names.
pub(crate) const NAMES_READ_MAX: usize = 16 * NAMES_MAX;
/// One name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 128;
/// How deep a value may nest: deeper ones could be stored, but serde_json would refuse to read them back.
pub(crate) const NESTING_MAX: usize = 127;
/// Cookies of our name that are looked at in one request. A browser sends several when somebody set one for another path
/// or domain; each costs a look-up.
pub(crate) const CANDIDATES_MAX: usize = 4;
/// An owner's id in bytes, so that every database can index it.
pub(crate) const OWNER_BYTES_MAX: usize = 256;
/// A label in bytes.
pub(crate) const LABEL_BYTES_MAX: usize = 256;
/// Sessions that "my sessions" lists.
pub(crate) const OWN_SESSIONS_MAX: usize = 1000;
/// How often a log-in looks again for sessions beyond the owner's limit, because some had another key when they were to be
/// ended.
pub(crate) const LIMIT_TRIES_MAX: usize = 4;
/// Messages that wait to be shown. Nobody reads more of them on one page.
pub(crate) const MESSAGES_MAX: usize = 64;
/// How often the default body of `touch` tries anew when writers are faster.
pub(crate) const TOUCH_TRIES_MAX: usize = 64;
/// How old the answer may be that a session still lives, for what outlives its request. A thousand open sockets then cost some
/// 33 look-ups a second.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// How often an application's closure runs anew because the session changed while it ran. Only one that changes the session
/// itself gets there.
pub(crate) const CLOSURE_TRIES_MAX: usize = 16;
/// Browsers cut a cookie's life to this (RFC 6265bis section 5.5), so that a longer one would promise too much.
pub(crate) const COOKIE_AGE_MAX: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// When sessions expire and are renewed, and how much they may hold.
///
/// ```
/// use std::time::Duration;
/// use session_core::{Policy, Renewal};
///
/// let policy = Policy::new()
///     .with_idle_timeout(Duration::from_secs(30 * 60))
///     .with_absolute_timeout(Duration::from_secs(12 * 60 * 60))
///     .with_renewal(Renewal::OnSave);
/// assert_eq!(policy.renew_after(), Duration::from_secs(3 * 60)); // a tenth of the idle timeout
/// ```
#[derive(Debug, Clone)]
pub struct Policy {
    idle_timeout: Duration,
    absolute_timeout: Option<Duration>,
    renew_after: Option<Duration>,
    renewal: Renewal,
    expire_at_browser_close: bool,
    reissue: Reissue,
    keys: KeyPolicy,
    limits: Limits,
    not_before: Option<Timestamp>,
    sessions_per_owner_max: Option<NonZeroUsize>,
    anonymous: Anonymous,
}

/// What holds for sessions in which nobody is logged in.
#[derive(Debug, Clone, Copy, Default)]
struct Anonymous {
    idle_timeout: Option<Duration>,
    new_per_minute_max: Option<u32>,
}

/// Whether a request counts as a sign of life from its visitor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// It does: the session is renewed as the policy says.
    #[default]
    Counts,
    /// It does not, as when a page asks for news by itself: the session expires as if the request had not been made. What the
    /// request changes is stored all the same.
    Ignore,
}

/// What moves a session's expiry forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Renewal {
    /// A request that reads or writes the session. A read costs a write to the store once in `renew_after`.
    #[default]
    OnAccess,
    /// A request that writes the session, as in Django by default.
    OnSave,
    /// Every request that carries a live session's key, asked for or not: Django's `SESSION_SAVE_EVERY_REQUEST`. Costs a
    /// look-up per request.
    #[doc(alias = "SESSION_SAVE_EVERY_REQUEST")]
    EveryRequest,
}

/// When a client is sent the key that it already has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reissue {
    /// Only by a request that created, rotated or re-timed the session. A late response can't overwrite the key that a
    /// parallel log-in has just sent.
    #[default]
    OnChange,
    /// With every save, so that the client's copy lives as long as the server's, as in Django. A slow response may then
    /// put an old key back in the place of the one that a parallel log-in sent.
    OnSave,
}

/// How much a session may hold. Exceeding a limit is a typed error, and nothing is lost.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Limits {
    /// Names and raw values together, in bytes. Default 1 MiB: a session is read and written as a whole, so that a large one
    /// costs every request.
    pub data_bytes_max: usize,
    /// Names. Default 1024, at most 16,384: look-ups are linear.
    pub names_max: usize,
    /// One name, in bytes. Default 128.
    pub name_bytes_max: usize,
    /// Keys that one request may present. Default 4: each costs a look-up.
    pub candidates_max: usize,
    /// How long one call to the store may take. Default 5 seconds; `clear_expired` is exempt.
    pub store_timeout: Duration,
    /// How long a commit may take in all, retries included. Default 5 seconds.
    pub commit_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            data_bytes_max: DATA_BYTES_MAX,
            names_max: NAMES_MAX,
            name_bytes_max: NAME_BYTES_MAX,
            candidates_max: CANDIDATES_MAX,
            store_timeout: Duration::from_secs(5),
            commit_timeout: Duration::from_secs(5),
        }
    }
}

impl Policy {
    /// Two weeks of inactivity, no absolute timeout, renewal on access.
    #[must_use]
    pub fn new() -> Self {
        Self {
            idle_timeout: Duration::from_secs(14 * 24 * 60 * 60),
            absolute_timeout: None,
            renew_after: None,
            renewal: Renewal::default(),
            expire_at_browser_close: false,
            reissue: Reissue::default(),
            keys: KeyPolicy::default(),
            limits: Limits::default(),
            not_before: None,
            sessions_per_owner_max: None,
            anonymous: Anonymous::default(),
        }
    }

    /// For authentication of assurance level 1 of NIST SP 800-63B-4 (section 2.1.3): a new log-in after 30 days at most, and, by
    /// our own choice, after a week without activity.
    ///
    /// ```
    /// use std::time::Duration;
    /// use session_core::Policy;
    ///
    /// let policy = Policy::aal1();
    /// assert_eq!(policy.absolute_timeout(), Some(Duration::from_secs(30 * 24 * 60 * 60)));
    /// ```
    #[must_use]
    pub fn aal1() -> Self {
        Self::new()
            .with_absolute_timeout(DAY * 30)
            .with_idle_timeout(DAY * 7)
    }

    /// For authentication of assurance level 2 of NIST SP 800-63B-4 (section 2.2.3): a new log-in after 24 hours, or after an
    /// hour without activity.
    #[must_use]
    pub fn aal2() -> Self {
        Self::new()
            .with_absolute_timeout(DAY)
            .with_idle_timeout(HOUR)
    }

    /// For authentication of assurance level 3 of NIST SP 800-63B-4 (section 2.3.3): a new log-in after 12 hours, or after 15
    /// minutes without activity.
    #[must_use]
    pub fn aal3() -> Self {
        Self::new()
            .with_absolute_timeout(HOUR * 12)
            .with_idle_timeout(HOUR / 4)
    }

    /// How long a session lives without being used. Whole seconds; two weeks by default, as Django's
    /// `SESSION_COOKIE_AGE`.
    #[doc(alias = "SESSION_COOKIE_AGE")]
    #[must_use]
    pub fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// How long a session lives at most, counted from its creation or the last log-in, however busy it is. None by
    /// default. OWASP ASVS 5.0 V7.3.2 asks for one.
    #[must_use]
    pub fn with_absolute_timeout(mut self, absolute_timeout: impl Into<Option<Duration>>) -> Self {
        self.absolute_timeout = absolute_timeout.into();
        self
    }

    /// A renewal is only written when it moves the expiry by at least this. A tenth of the idle timeout by default: the
    /// precision of the idle timeout, paid for with one write.
    #[must_use]
    pub fn with_renew_after(mut self, renew_after: Duration) -> Self {
        self.renew_after = Some(renew_after);
        self
    }

    /// What moves a session's expiry forward.
    #[must_use]
    pub fn with_renewal(mut self, renewal: Renewal) -> Self {
        self.renewal = renewal;
        self
    }

    /// Whether clients forget sessions with [`Expiry::Default`](crate::Expiry::Default) when the browser closes. `false` by default.
    #[doc(alias = "SESSION_EXPIRE_AT_BROWSER_CLOSE")]
    #[must_use]
    pub fn with_expire_at_browser_close(mut self, expire_at_browser_close: bool) -> Self {
        self.expire_at_browser_close = expire_at_browser_close;
        self
    }

    /// When a client is sent the key that it already has.
    #[must_use]
    pub fn with_reissue(mut self, reissue: Reissue) -> Self {
        self.reissue = reissue;
        self
    }

    /// How keys become store keys. Another policy ends all sessions; a `DigestKeys` ring in which the older keys stay behind a new
    /// one ends none.
    #[must_use]
    pub fn with_keys(mut self, keys: KeyPolicy) -> Self {
        self.keys = keys;
        self
    }

    /// Ends every session that began before this moment, whatever its store says: after a leak, or when a backup has been
    /// restored. Costs nothing. A session begins with its creation, and anew with a log-in; one whose store keeps no time of
    /// creation is ended in any case, a new one too: on such a store (those that are shared with Django) delete the records.
    #[must_use]
    pub fn with_not_before(mut self, moment: SystemTime) -> Self {
        // Times of creation have no fractions. In doubt a session ends.
        let whole = Timestamp::from(moment);
        let is_whole = SystemTime::from(whole) == moment;
        self.not_before = Some(if is_whole {
            whole
        } else {
            whole.saturating_add(Duration::from_secs(1))
        });
        self
    }

    /// How many sessions an owner has at most. A log-in ends the oldest beyond it; which one, of several that began in the same
    /// second, is decided by their keys. No limit by default. OWASP ASVS 5.0 V7.1.2.
    ///
    /// The store needs an owner index; without one a log-in is
    /// [`SessionError::Unsupported`](crate::SessionError::Unsupported), and nothing of it is stored. If the index fails once the
    /// log-in is stored, the request fails, and its client is not told of the new key. Costs a look at the index per log-in.
    #[must_use]
    pub fn with_sessions_per_owner_max(mut self, sessions: NonZeroUsize) -> Self {
        self.sessions_per_owner_max = Some(sessions);
        self
    }

    /// How long a session lives without being used in which nobody is logged in. As long as the others by default.
    ///
    /// For applications that use `log_in`: one that keeps its user's id in the data has none but such sessions.
    #[must_use]
    pub fn with_anonymous_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.anonymous.idle_timeout = Some(idle_timeout);
        self
    }

    /// How many sessions in which nobody is logged in a manager and its clones create in each minute of the clock, so that a flood
    /// of visitors who keep no cookie does not fill the store. One that the store refused is counted as well. Beyond it a request that would create one is
    /// [`SessionError::TooManyNewSessions`](crate::SessionError::TooManyNewSessions); a log-in never is. No limit by default.
    #[must_use]
    pub fn with_new_anonymous_per_minute_max(mut self, sessions: u32) -> Self {
        self.anonymous.new_per_minute_max = Some(sessions);
        self
    }

    /// How much a session may hold, and how long its store may take.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = Limits {
            names_max: limits.names_max.min(NAMES_READ_MAX),
            ..limits
        };
        self
    }

    /// See [`with_idle_timeout`](Self::with_idle_timeout).
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// See [`with_absolute_timeout`](Self::with_absolute_timeout).
    #[must_use]
    pub fn absolute_timeout(&self) -> Option<Duration> {
        self.absolute_timeout
    }

    /// See [`with_renew_after`](Self::with_renew_after).
    #[must_use]
    pub fn renew_after(&self) -> Duration {
        self.renew_after.unwrap_or(self.idle_timeout / 10)
    }

    /// See [`with_renewal`](Self::with_renewal).
    #[must_use]
    pub fn renewal(&self) -> Renewal {
        self.renewal
    }

    /// See [`with_expire_at_browser_close`](Self::with_expire_at_browser_close).
    #[must_use]
    pub fn expire_at_browser_close(&self) -> bool {
        self.expire_at_browser_close
    }

    /// See [`with_reissue`](Self::with_reissue).
    #[must_use]
    pub fn reissue(&self) -> Reissue {
        self.reissue
    }

    /// See [`with_keys`](Self::with_keys).
    #[must_use]
    pub fn keys(&self) -> &KeyPolicy {
        &self.keys
    }

    /// See [`with_not_before`](Self::with_not_before), in whole seconds.
    #[must_use]
    pub fn not_before(&self) -> Option<SystemTime> {
        self.not_before.map(SystemTime::from)
    }

    /// See [`with_sessions_per_owner_max`](Self::with_sessions_per_owner_max).
    #[must_use]
    pub fn sessions_per_owner_max(&self) -> Option<NonZeroUsize> {
        self.sessions_per_owner_max
    }

    /// See [`with_anonymous_idle_timeout`](Self::with_anonymous_idle_timeout).
    #[must_use]
    pub fn anonymous_idle_timeout(&self) -> Duration {
        self.anonymous.idle_timeout.unwrap_or(self.idle_timeout)
    }

    /// See [`with_new_anonymous_per_minute_max`](Self::with_new_anonymous_per_minute_max).
    #[must_use]
    pub fn new_anonymous_per_minute_max(&self) -> Option<u32> {
        self.anonymous.new_per_minute_max
    }

    /// See [`with_limits`](Self::with_limits).
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}
