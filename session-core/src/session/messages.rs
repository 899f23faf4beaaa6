//! Messages for the next page that the visitor sees, stored as Django's messages framework stores them.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use serde_json::Value;

use crate::change::Selection;
use crate::commit::Effect;
use crate::data::RawJson;
use crate::error::SessionError;
use crate::policy::MESSAGES_MAX;
use crate::session::SessionBase;

/// Where Django's `SessionStorage` keeps them: a list as JSON text, in a string.
const MESSAGES_NAME: &str = "_messages";
/// No value has this name: what is pending waits for the commit, or a message about what a failed request has not done would
/// be stored along with that about its failure.
const NOTHING_ELSE: Selection<'_> = Selection::Named("");
/// What Django begins each of them with.
const MARK: &str = "__json_message";

/// How important a message is: a number, with Django's names for five of them.
///
/// ```
/// use session_core::MessageLevel;
///
/// assert!(MessageLevel::WARNING > MessageLevel::SUCCESS);
/// assert_eq!(MessageLevel::WARNING.tag(), "warning");
/// assert_eq!(MessageLevel::new(42).tag(), "");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageLevel(i64);

impl MessageLevel {
    /// For developers: 10.
    pub const DEBUG: Self = Self(10);
    /// For the visitor: 20.
    pub const INFO: Self = Self(20);
    /// Something has worked: 25.
    pub const SUCCESS: Self = Self(25);
    /// Something has not, or soon will not: 30.
    pub const WARNING: Self = Self(30);
    /// Something has failed: 40.
    pub const ERROR: Self = Self(40);

    /// A level of the application's own, between Django's or beyond them.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The name in lower case, for a style sheet: `debug`, `info`, `success`, `warning`, `error`. Empty for a level of the
    /// application's own, as in Django.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::DEBUG => "debug",
            Self::INFO => "info",
            Self::SUCCESS => "success",
            Self::WARNING => "warning",
            Self::ERROR => "error",
            _ => "",
        }
    }
}

impl fmt::Debug for MessageLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tag() {
            "" => write!(f, "MessageLevel({})", self.0),
            tag => f.write_str(tag),
        }
    }
}

/// One message. `Debug` does not show its text, which is session data.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    level: MessageLevel,
    text: String,
    extra_tags: String,
    is_html: bool,
}

impl Message {
    /// A message with this text, which a page has to escape as any other.
    #[must_use]
    pub fn new(level: MessageLevel, text: impl Into<String>) -> Self {
        Self {
            level,
            text: text.into(),
            extra_tags: String::new(),
            is_html: false,
        }
    }

    /// More words for a style sheet, separated by blanks. Django's `extra_tags`.
    #[must_use]
    pub fn with_extra_tags(mut self, extra_tags: impl Into<String>) -> Self {
        self.extra_tags = extra_tags.into();
        self
    }

    /// How important it is.
    #[must_use]
    pub const fn level(&self) -> MessageLevel {
        self.level
    }

    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The extra tags and the level's: `big warning`. Django's `tags`.
    #[must_use]
    pub fn tags(&self) -> String {
        let tags = [&*self.extra_tags, self.level.tag()];
        let tags: Vec<&str> = tags.into_iter().filter(|tag| !tag.is_empty()).collect();
        tags.join(" ")
    }

    /// Whether a Django has marked the text as HTML that needs no escaping. It is for the one who renders it to trust that or
    /// not; messages that are made here never are.
    #[must_use]
    pub const fn is_html(&self) -> bool {
        self.is_html
    }

    fn of_json(json: Value) -> Option<Self> {
        let Value::Array(parts) = json else {
            return None;
        };
        let mut parts = parts.into_iter();
        if parts.next()?.as_str()? != MARK {
            return None;
        }
        let is_html = parts.next()?.as_i64()? != 0;
        let level = MessageLevel(parts.next()?.as_i64()?);
        let Value::String(text) = parts.next()? else {
            return None;
        };
        let extra_tags = match parts.next() {
            Some(Value::String(tags)) => tags,
            Some(Value::Null) | None => String::new(),
            Some(_) => return None,
        };
        Some(Self {
            level,
            text,
            extra_tags,
            is_html,
        })
    }

    fn to_json(&self) -> Value {
        let Self {
            level,
            text,
            extra_tags,
            is_html,
        } = self;
        let parts = [
            MARK.into(),
            i32::from(*is_html).into(),
            level.0.into(),
            text.as_str().into(),
            extra_tags.as_str().into(),
        ];
        Value::Array(parts.into())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("level", &self.level)
            .field("text_bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// What the visitor is to be told on the next page: a session's messages, by [`SessionBase::messages`]. Django's
/// `django.contrib.messages`, and stored as its `SessionStorage` stores them, so that a Django which shares the session shows
/// what is pushed here, and the other way round, if that is its `MESSAGE_STORAGE` (its default keeps them in a cookie).
///
/// ```
/// # use session_core::{MemoryStore, SessionManager};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// # let session = SessionManager::new(MemoryStore::new()).start();
/// session.messages().success("Saved.")?;
/// session.messages().warning("Your card expires soon.")?;
///
/// for message in session.messages().take().await? {
///     println!("<li class=\"{}\">{}</li>", message.tags(), message.text()); // escaped, in a real page
/// }
/// assert!(session.messages().peek()?.is_empty());
/// # session.save().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// | | stored | of two pages at the same time | on a 5xx response |
/// | --- | --- | --- | --- |
/// | [`push`](Self::push) and its five friends | at the commit | both are kept | dropped: what they tell of was dropped as well |
/// | [`push_now`](Self::push_now) | now | both are kept | kept |
/// | [`peek`](Self::peek) | nothing | both see them | |
/// | [`take`](Self::take) | now | one of them shows a message | taken, although nobody has seen them |
/// | [`pop`](Self::pop) | at the commit | both may show it | kept for the next page |
///
/// A session holds 64 messages. Pushing another one drops the oldest: somebody who is never shown any, such as an
/// API's client, must not be refused over it.
#[derive(Debug, Clone, Copy)]
pub struct Messages<'a>(&'a SessionBase);

impl SessionBase {
    /// What the visitor is to be told on the next page.
    #[doc(alias = "flash")]
    #[must_use]
    pub const fn messages(&self) -> Messages<'_> {
        Messages(self)
    }
}

impl Messages<'_> {
    /// Adds a message behind the others. Those that other requests add at the same time are kept as well.
    ///
    /// # Errors
    ///
    /// [`SessionError::WrongType`] when there is something else in the place of the messages, which is kept; the limit that
    /// would be exceeded.
    pub fn push(self, message: Message) -> Result<(), SessionError> {
        self.0.modify_raw(
            ByteString::from_static(MESSAGES_NAME),
            Arc::new(move |raw| {
                let mut messages = parse(raw)?;
                add(&mut messages, message.clone());
                to_raw(&messages)
            }),
        )
    }

    /// [`push`](Self::push) at [`MessageLevel::DEBUG`].
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub fn debug(self, text: impl Into<String>) -> Result<(), SessionError> {
        self.push(Message::new(MessageLevel::DEBUG, text))
    }

    /// [`push`](Self::push) at [`MessageLevel::INFO`].
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub fn info(self, text: impl Into<String>) -> Result<(), SessionError> {
        self.push(Message::new(MessageLevel::INFO, text))
    }

    /// [`push`](Self::push) at [`MessageLevel::SUCCESS`].
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub fn success(self, text: impl Into<String>) -> Result<(), SessionError> {
        self.push(Message::new(MessageLevel::SUCCESS, text))
    }

    /// [`push`](Self::push) at [`MessageLevel::WARNING`].
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub fn warning(self, text: impl Into<String>) -> Result<(), SessionError> {
        self.push(Message::new(MessageLevel::WARNING, text))
    }

    /// [`push`](Self::push) at [`MessageLevel::ERROR`].
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub fn error(self, text: impl Into<String>) -> Result<(), SessionError> {
        self.push(Message::new(MessageLevel::ERROR, text))
    }

    /// Adds a message and stores it at once: it stands whatever becomes of the request. For the news that the request has
    /// failed, and to put back what was taken. What was pushed before, and not stored, waits for the commit and comes behind it.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push) and [`SessionBase::save`].
    ///
    /// # Cancel safety
    ///
    /// The message has been stored or not.
    pub async fn push_now(self, message: Message) -> Result<(), SessionError> {
        let shared = &self.0.0;
        shared.manager.require_store("store a message at once")?;
        self.0.touch_data(true);
        shared
            .store(NOTHING_ELSE, |content| {
                let mut messages = parse(content.data.raw(MESSAGES_NAME))?;
                add(&mut messages, message.clone());
                if let Some(raw) = to_raw(&messages)? {
                    content.data.set_raw(raw);
                }
                Ok(Effect::Changed(()))
            })
            .await
    }

    /// The messages, oldest first. They stay.
    ///
    /// # Errors
    ///
    /// [`SessionError::WrongType`] when there is something else in their place.
    pub fn peek(self) -> Result<Vec<Message>, SessionError> {
        parse(self.0.raw(MESSAGES_NAME).as_ref())
    }

    /// Removes the messages at once and gives them, oldest first: of two pages at the same time each message is shown by one.
    /// As it stands whatever becomes of the request, a page that then fails has shown them to nobody: take them last. If there
    /// are none, nothing is stored.
    ///
    /// # Errors
    ///
    /// As for [`SessionBase::take`].
    ///
    /// # Cancel safety
    ///
    /// The messages have been removed or not. If they were, they are lost.
    pub async fn take(self) -> Result<Vec<Message>, SessionError> {
        let shared = &self.0.0;
        shared.manager.require_store("take messages once")?;
        self.0.touch_data(false);
        shared
            .store(Selection::Named(MESSAGES_NAME), |content| {
                let Some(raw) = content.data.take_raw(MESSAGES_NAME) else {
                    return Ok(Effect::Refused(Vec::new()));
                };
                parse(Some(&raw)).map(Effect::Changed)
            })
            .await
    }

    /// Gives the messages, oldest first, and removes them at the commit: a page that fails has not used them up. Messages
    /// that other requests push meanwhile stay. Two pages at the same time may both show the same message.
    ///
    /// # Errors
    ///
    /// [`SessionError::WrongType`] when there is something else in their place.
    pub fn pop(self) -> Result<Vec<Message>, SessionError> {
        let shown = self.peek()?;
        if shown.is_empty() {
            return Ok(shown);
        }
        let removed = shown.clone();
        self.0.modify_raw(
            ByteString::from_static(MESSAGES_NAME),
            Arc::new(move |raw| {
                let mut messages = parse(raw)?;
                for shown in &removed {
                    if let Some(at) = messages.iter().position(|message| message == shown) {
                        messages.remove(at);
                    }
                }
                to_raw(&messages)
            }),
        )?;
        Ok(shown)
    }
}

fn add(messages: &mut Vec<Message>, message: Message) {
    messages.push(message);
    let surplus = messages.len().saturating_sub(MESSAGES_MAX);
    messages.drain(..surplus);
}

fn parse(raw: Option<&RawJson>) -> Result<Vec<Message>, SessionError> {
    let Some(raw) = raw else {
        return Ok(Vec::new());
    };
    let text: String = raw.parse(MESSAGES_NAME)?;
    let list: Vec<Value> = serde_json::from_str(&text)
        .map_err(|error| SessionError::wrong_type(MESSAGES_NAME, &error))?;
    let messages: Option<Vec<Message>> = list.into_iter().map(Message::of_json).collect();
    messages.ok_or_else(|| SessionError::WrongType {
        name: MESSAGES_NAME.to_owned(),
        source: "a list, but not of messages as Django stores them".into(),
    })
}

/// `None` for no messages: their name goes, too.
fn to_raw(messages: &[Message]) -> Result<Option<RawJson>, SessionError> {
    if messages.is_empty() {
        return Ok(None);
    }
    let list: Value = messages.iter().map(Message::to_json).collect();
    RawJson::of(MESSAGES_NAME, &list.to_string()).map(Some)
}
