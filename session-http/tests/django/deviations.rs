//! Where the layer answers otherwise than Django, each with its reason. `docs/running-with-django.md` has the same table.

/// One thing that is done otherwise on purpose.
pub(crate) struct Deviation {
    /// Why.
    pub(crate) reason: &'static str,
    /// What happens here: error, cookies, `Vary`, rows.
    pub(crate) here: &'static str,
    /// The cases in which it shows.
    pub(crate) cases: &'static [&'static str],
}

pub(crate) const DEVIATIONS: &[Deviation] = &[
    Deviation {
        reason: "A cookie of no session is left alone: the browser may already hold a newer key, from a log-in in another tab, and a removal that arrives late would log that visitor out.",
        here: r#"- | - | - | <valid> {"x":1} until 2026-01-16 03:02:25"#,
        cases: &[
            "save_every=False, empty cookie, untouched",
            "save_every=False, empty cookie, mark_modified",
            "save_every=False, 7-char cookie, untouched",
            "save_every=False, 7-char cookie, mark_modified",
            "save_every=True, empty cookie, untouched",
            "save_every=True, empty cookie, mark_modified",
            "save_every=True, 7-char cookie, untouched",
            "save_every=True, 7-char cookie, mark_modified",
            "status 500, 7-char cookie, untouched",
        ],
    },
    Deviation {
        reason: "A cookie of no session is left alone: the browser may already hold a newer key, from a log-in in another tab, and a removal that arrives late would log that visitor out.",
        here: r#"- | - | Cookie | <valid> {"x":1} until 2026-01-16 03:02:25"#,
        cases: &[
            "save_every=False, empty cookie, read",
            "save_every=False, empty cookie, clear",
            "save_every=False, 7-char cookie, read",
            "save_every=False, 7-char cookie, clear",
            "save_every=False, unknown key, read",
            "save_every=True, empty cookie, read",
            "save_every=True, empty cookie, clear",
            "save_every=True, 7-char cookie, read",
            "save_every=True, 7-char cookie, clear",
            "save_every=True, unknown key, read",
            "status 500, 7-char cookie, read",
            "status 500, 7-char cookie, clear",
            "status 500, unknown key, read",
        ],
    },
    Deviation {
        reason: "A cookie of no session is left alone: the browser may already hold a newer key, from a log-in in another tab, and a removal that arrives late would log that visitor out.",
        here: r#"- | - | Cookie | <valid> {"x":1} until 2025-12-19 03:04:05"#,
        cases: &["expired row, read"],
    },
    Deviation {
        reason: "An unknown key is a new, empty session also to `clear`: Django answers 400, and the browser sends the key again.",
        here: r#"- | - | Cookie | <valid> {"x":1} until 2026-01-16 03:02:25"#,
        cases: &[
            "save_every=False, unknown key, clear",
            "save_every=True, unknown key, clear",
        ],
    },
    Deviation {
        reason: "No empty session is ever stored: any made-up cookie could fill the store.",
        here: r#"- | - | Cookie | <valid> {"x":1} until 2026-01-16 03:02:25"#,
        cases: &[
            "save_every=False, no cookie, cycle_key",
            "save_every=False, empty cookie, cycle_key",
            "save_every=False, 7-char cookie, cycle_key",
            "save_every=False, unknown key, cycle_key",
            "save_every=True, no cookie, cycle_key",
            "save_every=True, empty cookie, cycle_key",
            "save_every=True, 7-char cookie, cycle_key",
            "save_every=True, unknown key, cycle_key",
        ],
    },
    Deviation {
        reason: "No empty session is ever stored: any made-up cookie could fill the store.",
        here: r#"- | - | - | <valid> {"x":1} until 2026-01-16 03:02:25"#,
        cases: &[
            "save_every=False, unknown key, mark_modified",
            "save_every=True, unknown key, untouched",
            "save_every=True, unknown key, mark_modified",
        ],
    },
    Deviation {
        reason: "No empty session is ever stored: any made-up cookie could fill the store.",
        here: r#"- | - | - | <valid> {"x":1} until 2025-12-19 03:04:05"#,
        cases: &["expired row, mark_modified"],
    },
    Deviation {
        reason: "There is no flag `modified`: what was changed is known by itself, also inside of lists and maps.",
        here: r#"- | - | - | <valid> {"x":1} until 2026-01-16 03:02:25"#,
        cases: &["save_every=False, valid key, mark_modified"],
    },
    Deviation {
        reason: "An expired session does not exist, and nothing revives it.",
        here: r#"- | - | Cookie | <valid> {"x":1} until 2025-12-19 03:04:05"#,
        cases: &["expired row, clear: the forced UPDATE still finds it and revives it empty"],
    },
    Deviation {
        reason: "What two requests change is merged by name: no update is lost.",
        here: r#"- | sessionid=<valid>; HttpOnly; Max-Age=1209600; Path=/; SameSite=lax | Cookie | <valid> {"x":1,"other":9,"y":2} until 2026-01-16 03:04:05"#,
        cases: &["row changed elsewhere after load, then write: last writer wins"],
    },
    Deviation {
        reason: "A session that ends at once is told to the client as `Max-Age=0`; a number below zero is kept as -1.",
        here: r#"- | sessionid=<valid>; HttpOnly; Max-Age=0; Path=/; SameSite=lax | Cookie | <valid> {"x":1,"_session_expiry":-1} until 2026-01-02 03:04:05"#,
        cases: &["set_expiry(-10)"],
    },
    Deviation {
        reason: "A session that ends at once is told to the client as `Max-Age=0`.",
        here: r#"- | sessionid=<valid>; HttpOnly; Max-Age=0; Path=/; SameSite=lax | Cookie | <valid> {"x":1,"_session_expiry":"2026-01-02T03:03:55+00:00"} until 2026-01-02 03:03:55"#,
        cases: &["set_expiry(-10 s timedelta)"],
    },
    Deviation {
        reason: "Expiries are whole seconds, rounded up.",
        here: r#"- | sessionid=<valid>; HttpOnly; Max-Age=2; Path=/; SameSite=lax | Cookie | <valid> {"x":1,"_session_expiry":2} until now + 2"#,
        cases: &["set_expiry(1.5)"],
    },
    Deviation {
        reason: "`set_expiry` counts as a change also where it sets what is there.",
        here: r#"- | sessionid=<valid>; HttpOnly; Max-Age=1209600; Path=/; SameSite=lax | Cookie | <valid> {"x":1} until 2026-01-16 03:04:05"#,
        cases: &["set_expiry(None) with nothing set"],
    },
    Deviation {
        reason: "A setting that can't be used is an error at start; Django raises it after the session was saved.",
        here: r#"refused at start"#,
        cases: &["SameSite invalid"],
    },
    Deviation {
        reason: "A `Vary` that names `Cookie` is recognized between blanks.",
        here: r#"- | - |  Cookie  | <valid> {"x":1} until 2026-01-16 03:02:25"#,
        cases: &["existing Vary ' Cookie '"],
    },
];
