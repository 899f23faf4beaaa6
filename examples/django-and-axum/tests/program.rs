//! The service as somebody meets it who starts it: what it says when something is missing.

use crate::support::started_with;

#[test]
fn what_is_missing_is_named() {
    let cases = [
        (
            &["--django", "http://127.0.0.1:9"][..],
            Some("sqlite:x"),
            "--settings",
        ),
        (&["--settings", "x"][..], Some("sqlite:x"), "--django"),
        (
            &["--settings", "x", "--django", "http://127.0.0.1:9"][..],
            None,
            "DATABASE_URL",
        ),
        (&["--port", "eighty"][..], None, "eighty"),
        (&["--prot", "80"][..], None, "--prot"),
    ];
    for (arguments, database, named) in cases {
        let output = started_with(arguments, database);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(
            said.contains(named) && said.contains("--settings FILE"),
            "{arguments:?} was refused with: {said}"
        );
    }
}

#[test]
fn settings_that_cannot_be_read_are_named() {
    let arguments = [
        "--settings",
        "no-such-file.json",
        "--django",
        "http://127.0.0.1:9",
    ];
    let output = started_with(&arguments, Some("sqlite:no-such-database"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no-such-file.json"), "it said: {said}");
}

#[test]
fn an_engine_without_a_store_here_is_refused_with_its_name() {
    let settings = tempfile::NamedTempFile::new().unwrap();
    let json =
        r#"{"SECRET_KEY": "k", "SESSION_ENGINE": "django.contrib.sessions.backends.cached_db"}"#;
    std::io::Write::write_all(&mut settings.as_file(), json.as_bytes()).unwrap();
    let path = settings.path().to_str().unwrap();
    let arguments = ["--settings", path, "--django", "http://127.0.0.1:9"];
    let output = started_with(&arguments, Some("sqlite:no-such-database"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cached_db"), "it said: {said}");
}

#[cfg(test)]
mod support {
    use std::process::{Command, Output};

    /// The service with these arguments, to its end.
    pub(crate) fn started_with(arguments: &[&str], database: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_django-and-axum"));
        command.args(arguments).env_remove("DATABASE_URL");
        if let Some(database) = database {
            command.env("DATABASE_URL", database);
        }
        command.output().unwrap()
    }
}
