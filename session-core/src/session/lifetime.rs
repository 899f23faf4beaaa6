//! Whose session it is, when it begins, and when it ends.

use std::time::{Duration, SystemTime};

use bytestring::ByteString;

use crate::change::Entry;
use crate::data::RawJson;
use crate::error::SessionError;
use crate::expiry::{ABSOLUTE_NAME, EXPIRY_NAME, Expiry, Terms, whole_secs};
use crate::owner::Owner;
use crate::policy::{Activity, LABEL_BYTES_MAX};
use crate::record::Label;
use crate::session::SessionBase;

/// What becomes of the data that a session holds when somebody logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// Kept, unless it is another owner's.
    Kept,
    /// Cleared in any case.
    Cleared,
}

/// Beginning and ending.
impl SessionBase {
    /// Makes this the session of `owner`: to be called when somebody has proved who they are.
    ///
    /// The key is changed (which defeats session fixation, OWASP ASVS 5.0 V7.2.4), the old one dies, and the absolute
    /// timeout starts anew. An anonymous visitor's data is kept, another owner's is flushed first. Stored at the commit;
    /// dropped if the response is a server error.
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidOwner`] when the id is empty, longer than 256 bytes, or has a NUL in it.
    /// [`SessionError::Unsupported`] when the session is shared with a Django, which has to be told more of its user:
    /// `DjangoUser::log_in` does that.
    #[doc(alias = "login")]
    pub fn log_in(&self, owner: impl Into<Owner>) -> Result<(), SessionError> {
        self.refuse_if_shared(
            "log in by an owner's id alone; Django needs what DjangoUser::log_in tells it",
        )?;
        self.log_in_as(owner.into(), Before::Kept)
    }

    /// Makes this the session of `owner`, after what is in it has been cleared or not.
    pub(crate) fn log_in_as(&self, owner: Owner, before: Before) -> Result<(), SessionError> {
        owner.check()?;
        let at = self.0.manager.now();
        let mut state = self.accessed();
        if before == Before::Cleared {
            state.apply(Entry::Clear)?;
        }
        let entry = Entry::LogIn { owner, at };
        self.check_client_room(&state, |after| entry.replay(after))?;
        state.apply(entry)
    }

    /// Ends the session: the record dies, the client is told to forget its key, the data is gone. What is set afterwards
    /// starts a new session. Stands also if the response is a server error. The same as [`flush`](Self::flush).
    #[doc(alias = "logout")]
    pub fn log_out(&self) {
        self.flush();
    }

    /// Ends the session: the record dies, the client is told to forget its key, the data is gone. What is set afterwards
    /// starts a new session. Stands also if the response is a server error.
    pub fn flush(&self) {
        self.0.end_held(&mut self.0.lock());
    }

    /// Changes the key and keeps the data: to be called at every change of privilege ([`log_in`](Self::log_in) does it by
    /// itself). The old key dies. Stands also if the response is a server error.
    pub fn cycle_key(&self) {
        let mut state = self.accessed();
        state.cycle = true;
        state.is_late |= state.headers_sent;
        state.modified = true;
    }

    /// Whose session it is, once somebody has logged in.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        let codec = self.0.manager.codec();
        let state = self.accessed();
        if codec.is_shared() {
            codec.owner(&state.view().data)
        } else {
            state.view().owner.clone()
        }
    }

    /// Names the visitor's device, for [`own_sessions`](Self::own_sessions). `None` removes the name.
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidLabel`] for more than 256 bytes, or a NUL. [`SessionError::Unsupported`] when the session is
    /// shared with a Django, which has no place for a label.
    pub fn set_label<'a>(&self, label: impl Into<Option<&'a str>>) -> Result<(), SessionError> {
        self.refuse_if_shared("label a session that is shared with Django")?;
        let label = label.into();
        if label.is_some_and(|label| label.len() > LABEL_BYTES_MAX || label.contains('\0')) {
            return Err(SessionError::InvalidLabel {
                bytes_max: LABEL_BYTES_MAX,
            });
        }
        let label = label.map(Label::new);
        let mut state = self.accessed();
        let entry = Entry::SetLabel { label };
        self.check_client_room(&state, |after| entry.replay(after))?;
        state.apply(entry)
    }

    /// The name of the visitor's device, if one was set.
    #[must_use]
    pub fn label(&self) -> Option<String> {
        self.accessed()
            .view()
            .label
            .as_ref()
            .map(|label| label.as_str().to_owned())
    }
}

/// Expiry.
impl SessionBase {
    /// When this session expires, if not as the policy says. Kept in the session: later requests don't undo it. The client
    /// is told anew.
    ///
    /// # Errors
    ///
    /// The limit that would be exceeded.
    pub fn set_expiry(&self, expiry: Expiry) -> Result<(), SessionError> {
        self.set_or_remove(EXPIRY_NAME, expiry.to_raw()?)
    }

    /// How long this session lives at most, counted from its creation or the last log-in, if not as the policy says.
    /// Whole seconds. "Remember me" may need a longer one; `None` returns to the policy's.
    ///
    /// # Errors
    ///
    /// The limit that would be exceeded. [`SessionError::Unsupported`] when the session is shared with a Django, which keeps no
    /// time of creation.
    pub fn set_absolute_timeout(
        &self,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<(), SessionError> {
        self.refuse_if_shared("keep an absolute timeout in a session that is shared with Django")?;
        let raw = timeout
            .into()
            .map(|timeout| RawJson::of(ABSOLUTE_NAME, &whole_secs(timeout)))
            .transpose()?;
        self.set_or_remove(ABSOLUTE_NAME, raw)
    }

    /// Whether this request counts as a sign of life from its visitor, as it does unless somebody says otherwise: a page that
    /// asks for news by itself is to say [`Activity::Ignore`], or its session never expires. Holds for this request alone.
    pub fn set_activity(&self, activity: Activity) {
        self.0.lock().activity = activity;
    }

    /// How long the stored session lives from now on if nobody uses it: to warn a visitor in time. `None` if it is not stored.
    ///
    /// Unlike [`expiry_age`](Self::expiry_age) it does not count this request as a use; with [`Activity::Ignore`], asking does not
    /// make the session live longer.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let now = self.0.manager.now();
        let state = self.accessed();
        let held = state.held.as_ref()?;
        Some(held.expires_at.saturating_since(now))
    }

    /// What [`set_expiry`](Self::set_expiry) has set.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        self.terms().expiry()
    }

    /// How long the session lives if it is stored now and not used again. Django's `get_expiry_age`.
    #[doc(alias = "get_expiry_age")]
    #[must_use]
    pub fn expiry_age(&self) -> Duration {
        let now = self.0.manager.now();
        self.terms().expires_at(now).saturating_since(now)
    }

    /// When the session expires if it is stored now and not used again. Django's `get_expiry_date`.
    #[doc(alias = "get_expiry_date")]
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.terms().expires_at(self.0.manager.now()).into()
    }

    /// Whether the client forgets the session when the browser closes. Django's `get_expire_at_browser_close`.
    #[doc(alias = "get_expire_at_browser_close")]
    #[must_use]
    pub fn expires_at_browser_close(&self) -> bool {
        match self.expiry() {
            Expiry::AtBrowserClose => true,
            Expiry::Default => self.0.policy().expire_at_browser_close(),
            _ => false,
        }
    }

    fn refuse_if_shared(&self, operation: &'static str) -> Result<(), SessionError> {
        if self.0.manager.codec().is_shared() {
            return Err(SessionError::Unsupported { operation });
        }
        Ok(())
    }

    fn terms(&self) -> Terms {
        Terms::of(self.accessed().view(), self.0.policy())
    }

    fn set_or_remove(&self, name: &'static str, raw: Option<RawJson>) -> Result<(), SessionError> {
        let mut state = self.accessed();
        match raw {
            Some(value) => {
                self.check_room(&state, &value)?;
                state.apply(Entry::Set { value })
            }
            None => state.apply(Entry::Remove {
                name: ByteString::from_static(name),
            }),
        }
    }
}
