//! The response table, row by row: what is stored, and what the response says, for each state after the handler.
use axum::Router;
use axum::extract::State;
use axum::routing::any;
use http::StatusCode;
use session_core::{Expiry, Policy, Renewal};
use session_http::LazySession;

use crate::support::{IDLE, Site, get, send};

use Brings::{Empty, Expired, Live, LiveAndDue, Nothing, Short, Unknown};
use Does::{
    Clear, CycleKey, Flush, FlushAndWrite, LogIn, LogOutUnloaded, ModifyNow, Nothing as NeverAsks,
    Read, Save, SetExpiry, Take, Write,
};

/// What the client sends under the session's name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Brings {
    Nothing,
    Empty,
    Short,
    Unknown,
    Expired,
    Live,
    /// As `Live`, and it is time to renew it.
    LiveAndDue,
}

/// What the handler does with the session, which holds `n` if there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Nothing,
    Read,
    Write,
    Clear,
    Flush,
    FlushAndWrite,
    LogOutUnloaded,
    CycleKey,
    LogIn,
    SetExpiry,
    ModifyNow,
    Take,
    /// A write, acknowledged.
    Save,
}

async fn handler(
    State((does, status)): State<(Does, StatusCode)>,
    lazy: LazySession,
) -> session_http::Result<StatusCode> {
    match does {
        NeverAsks => return Ok(status),
        LogOutUnloaded => {
            lazy.log_out();
            return Ok(status);
        }
        _ => {}
    }
    let session = lazy.load().await?;
    match does {
        NeverAsks | LogOutUnloaded => {}
        Read => drop(session.get::<u32>("n")?),
        Write => session.set("m", &1)?,
        Clear => session.clear(),
        Flush => session.flush(),
        FlushAndWrite => {
            session.flush();
            session.set("m", &1)?;
        }
        CycleKey => session.cycle_key(),
        LogIn => session.log_in(7)?,
        SetExpiry => session.set_expiry(Expiry::AtBrowserClose)?,
        ModifyNow => session.modify_now("n", |n: &mut u32| *n += 1).await?,
        Take => drop(session.take::<u32>("n").await?),
        Save => {
            session.set("m", &1)?;
            session.save().await?;
        }
    }
    Ok(status)
}

/// A site, the visitor's key, and the `Cookie` header that brings what is to be brought.
async fn arrive(site: &Site, brings: Brings, name: &str) -> (String, Option<String>) {
    let live = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let value = match brings {
        Nothing => return (live, None),
        Empty => "",
        Short => "abc",
        Unknown => "abcdefghijklmnopqrstuvwxyz012345",
        Expired => {
            site.clock.advance(IDLE * 2);
            &live
        }
        Live => &live,
        LiveAndDue => {
            site.clock.advance(IDLE / 2);
            &live
        }
    };
    let header = format!("theme=dark; {name}={value}");
    (live, Some(header))
}

#[tokio::test]
async fn every_state_after_the_handler_has_its_store_calls_and_its_response() {
    // Store, cookie, Vary; with status 200 and with status 500.
    #[rustfmt::skip]
    let rows: &[(Brings, Does, &str, &str)] = &[
        (Nothing,    NeverAsks,      "- - -",                    "- - -"),
        (Nothing,    Read,           "- - vary",                 "- - vary"),
        (Nothing,    Write,          "create set vary",          "- - vary"),
        (Nothing,    Clear,          "- - vary",                 "- - vary"),
        (Nothing,    Flush,          "- - vary",                 "- - vary"),
        (Nothing,    FlushAndWrite,  "create set vary",          "- - vary"),
        (Nothing,    LogOutUnloaded, "- - vary",                 "- - vary"),
        (Nothing,    CycleKey,       "- - vary",                 "- - vary"),
        (Nothing,    LogIn,          "create set vary",          "- - vary"),
        (Nothing,    SetExpiry,      "create set vary",          "- - vary"),
        (Nothing,    ModifyNow,      "create set vary",          "create set vary"),
        (Nothing,    Take,           "- - vary",                 "- - vary"),
        (Nothing,    Save,           "create set vary",          "create set vary"),
        (Empty,      NeverAsks,      "- - -",                    "- - -"),
        (Empty,      Read,           "- - vary",                 "- - vary"),
        (Empty,      Write,          "create set vary",          "- - vary"),
        (Empty,      Clear,          "- - vary",                 "- - vary"),
        (Empty,      Flush,          "- remove vary",            "- remove vary"),
        (Empty,      FlushAndWrite,  "create set vary",          "- remove vary"),
        (Empty,      LogOutUnloaded, "- remove vary",            "- remove vary"),
        (Empty,      CycleKey,       "- - vary",                 "- - vary"),
        (Empty,      LogIn,          "create set vary",          "- - vary"),
        (Empty,      SetExpiry,      "create set vary",          "- - vary"),
        (Empty,      ModifyNow,      "create set vary",          "create set vary"),
        (Empty,      Take,           "- - vary",                 "- - vary"),
        (Empty,      Save,           "create set vary",          "create set vary"),
        (Short,      NeverAsks,      "- - -",                    "- - -"),
        (Short,      Read,           "- - vary",                 "- - vary"),
        (Short,      Write,          "create set vary",          "- - vary"),
        (Short,      Flush,          "- remove vary",            "- remove vary"),
        (Short,      Clear,          "- - vary",                 "- - vary"),
        (Short,      LogIn,          "create set vary",          "- - vary"),
        (Unknown,    NeverAsks,      "- - -",                    "- - -"),
        (Unknown,    Read,           "- - vary",                 "- - vary"),
        (Unknown,    Write,          "create set vary",          "- - vary"),
        (Unknown,    Clear,          "- - vary",                 "- - vary"),
        (Unknown,    Flush,          "- remove vary",            "- remove vary"),
        (Unknown,    FlushAndWrite,  "create set vary",          "- remove vary"),
        (Unknown,    LogOutUnloaded, "delete remove vary",       "delete remove vary"),
        (Unknown,    CycleKey,       "- - vary",                 "- - vary"),
        (Unknown,    LogIn,          "create set vary",          "- - vary"),
        (Unknown,    SetExpiry,      "create set vary",          "- - vary"),
        (Unknown,    ModifyNow,      "create set vary",          "create set vary"),
        (Unknown,    Take,           "- - vary",                 "- - vary"),
        (Unknown,    Save,           "create set vary",          "create set vary"),
        (Expired,    NeverAsks,      "- - -",                    "- - -"),
        (Expired,    Read,           "- - vary",                 "- - vary"),
        (Expired,    Write,          "create set vary",          "- - vary"),
        (Expired,    Clear,          "- - vary",                 "- - vary"),
        (Expired,    Flush,          "- remove vary",            "- remove vary"),
        (Expired,    LogIn,          "create set vary",          "- - vary"),
        (Expired,    CycleKey,       "- - vary",                 "- - vary"),
        (Live,       NeverAsks,      "- - -",                    "- - -"),
        (Live,       Read,           "- - vary",                 "- - vary"),
        (Live,       Write,          "save - vary",              "- - vary"),
        (Live,       Clear,          "save - vary",              "- - vary"),
        (Live,       Flush,          "delete remove vary",       "delete remove vary"),
        (Live,       FlushAndWrite,  "create+delete set vary",   "delete remove vary"),
        (Live,       LogOutUnloaded, "delete remove vary",       "delete remove vary"),
        (Live,       CycleKey,       "rotate set vary",          "rotate set vary"),
        (Live,       LogIn,          "rotate set vary",          "- - vary"),
        (Live,       SetExpiry,      "save set vary",            "- - vary"),
        (Live,       ModifyNow,      "save - vary",              "save - vary"),
        (Live,       Take,           "save - vary",              "save - vary"),
        (Live,       Save,           "save - vary",              "save - vary"),
        (LiveAndDue, NeverAsks,      "- - -",                    "- - -"),
        (LiveAndDue, Read,           "save - vary",              "save - vary"),
        (LiveAndDue, Write,          "save - vary",              "save - vary"),
    ];
    for (brings, does, on_200, on_500) in rows {
        for (status, expected) in [
            (StatusCode::OK, on_200),
            (StatusCode::INTERNAL_SERVER_ERROR, on_500),
        ] {
            let site = Site::new();
            let (live, cookie) = arrive(&site, *brings, "__Host-sessionid").await;
            let app = Router::new()
                .route("/", any(handler))
                .layer(site.layer())
                .with_state((*does, status));
            let reply = send(&app, get("/", cookie.as_deref())).await;
            let met = format!("{} {}", site.writes(), reply.words("__Host-sessionid"));
            assert_eq!(met, *expected, "{brings:?}, {does:?}, {status}");
            assert_eq!(reply.status, status, "{brings:?}, {does:?}");

            let is_over = *brings == Expired
                || ["delete", "rotate"]
                    .iter()
                    .any(|end| expected.contains(end));
            let is_touched = *brings != Unknown;
            assert_eq!(
                site.stored(&live).await.is_none(),
                is_over && is_touched,
                "{brings:?}, {does:?}, {status}: does the visitor's key still count?"
            );
        }
    }
}

/// The decision tables of Django's middleware, with the rows on which we differ on purpose.
#[tokio::test]
async fn the_django_preset_answers_as_django_does_except_where_that_hurts() {
    const LATE_REMOVAL: &str =
        "Django removes the cookie, which logs out whoever has logged in meanwhile";
    const GARBAGE: &str =
        "Django removes the cookie of whoever asks or not, which defeats page caches";
    const NOT_400: &str =
        "Django answers 400 and leaves the cookie, so that the client comes again";
    const REVIVED: &str = "Django brings the expired record back to life";
    const EMPTY_RECORD: &str = "Django stores an empty session, so that crawlers fill the store";
    const ALL: Renewal = Renewal::EveryRequest;
    const SAVED: Renewal = Renewal::OnSave;
    // Renewal; store, cookie, Vary with status 200 and with 500; where Django does something else, and what.
    #[rustfmt::skip]
    let rows: &[(Renewal, Brings, Does, &str, &str, &str)] = &[
        (SAVED, Nothing,    NeverAsks, "- - -",              "- - -",              ""),
        (SAVED, Nothing,    Read,      "- - vary",           "- - vary",           ""),
        (SAVED, Nothing,    Write,     "create set vary",    "- - vary",           ""),
        (SAVED, Nothing,    Flush,     "- - vary",           "- - vary",           ""),
        (SAVED, Nothing,    Clear,     "- - vary",           "- - vary",           ""),
        (SAVED, Nothing,    CycleKey,  "- - vary",           "- - vary",           EMPTY_RECORD),
        (SAVED, Empty,      NeverAsks, "- - -",              "- - -",              GARBAGE),
        (SAVED, Empty,      Read,      "- - vary",           "- - vary",           LATE_REMOVAL),
        (SAVED, Empty,      Write,     "create set vary",    "- - vary",           ""),
        (SAVED, Empty,      Flush,     "- remove vary",      "- remove vary",      ""),
        (SAVED, Empty,      Clear,     "- - vary",           "- - vary",           LATE_REMOVAL),
        (SAVED, Short,      NeverAsks, "- - -",              "- - -",              GARBAGE),
        (SAVED, Short,      Read,      "- - vary",           "- - vary",           LATE_REMOVAL),
        (SAVED, Short,      Write,     "create set vary",    "- - vary",           ""),
        (SAVED, Short,      Flush,     "- remove vary",      "- remove vary",      ""),
        (SAVED, Short,      Clear,     "- - vary",           "- - vary",           LATE_REMOVAL),
        (SAVED, Unknown,    NeverAsks, "- - -",              "- - -",              ""),
        (SAVED, Unknown,    Read,      "- - vary",           "- - vary",           LATE_REMOVAL),
        (SAVED, Unknown,    Write,     "create set vary",    "- - vary",           ""),
        (SAVED, Unknown,    Flush,     "- remove vary",      "- remove vary",      ""),
        (SAVED, Unknown,    Clear,     "- - vary",           "- - vary",           NOT_400),
        (SAVED, Expired,    NeverAsks, "- - -",              "- - -",              ""),
        (SAVED, Expired,    Read,      "- - vary",           "- - vary",           LATE_REMOVAL),
        (SAVED, Expired,    Write,     "create set vary",    "- - vary",           ""),
        (SAVED, Expired,    Flush,     "- remove vary",      "- remove vary",      ""),
        (SAVED, Expired,    Clear,     "- - vary",           "- - vary",           REVIVED),
        (SAVED, Live,       NeverAsks, "- - -",              "- - -",              ""),
        (SAVED, Live,       Read,      "- - vary",           "- - vary",           ""),
        (SAVED, Live,       Write,     "save set vary",      "- - vary",           ""),
        (SAVED, Live,       Flush,     "delete remove vary", "delete remove vary", ""),
        (SAVED, Live,       Clear,     "save set vary",      "- - vary",           ""),
        (SAVED, Live,       CycleKey,  "rotate set vary",    "rotate set vary",    "Django forgets it with status 500"),
        (SAVED, LiveAndDue, Read,      "- - vary",           "- - vary",           ""),
        (SAVED, LiveAndDue, Write,     "save set vary",      "- - vary",           ""),
        (ALL,   Nothing,    NeverAsks, "- - -",              "- - -",              ""),
        (ALL,   Short,      NeverAsks, "- - -",              "- - -",              GARBAGE),
        (ALL,   Unknown,    NeverAsks, "- - -",              "- - -",              EMPTY_RECORD),
        (ALL,   Live,       NeverAsks, "- - -",              "- - -",              "Django saves each time, we in a tenth of the age"),
        (ALL,   LiveAndDue, NeverAsks, "save set vary",      "save set vary",     "Django saves nothing with status 500"),
        (ALL,   LiveAndDue, Read,      "save set vary",      "save set vary",     "Django saves nothing with status 500"),
        (ALL,   Live,       Write,     "save set vary",      "- - vary",           ""),
        (ALL,   Live,       Flush,     "delete remove vary", "delete remove vary", ""),
    ];
    for (renewal, brings, does, on_200, on_500, difference) in rows {
        for (status, expected) in [
            (StatusCode::OK, on_200),
            (StatusCode::INTERNAL_SERVER_ERROR, on_500),
        ] {
            let site = Site::with_policy(Policy::new().with_renewal(*renewal));
            let (_, cookie) = arrive(&site, *brings, "sessionid").await;
            let app = Router::new()
                .route("/", any(handler))
                .layer(site.layer().django_compatible())
                .with_state((*does, status));
            let reply = send(&app, get("/", cookie.as_deref())).await;
            let met = format!("{} {}", site.writes(), reply.words("sessionid"));
            assert_eq!(
                met, *expected,
                "{renewal:?}, {brings:?}, {does:?}, {status}; {difference}"
            );
        }
    }
}
