//! What may be written on the command line, where a store may be named, and the exit codes.

use std::fs::File;
use std::io::Write as _;

use crate::support::{Ended, Kind, Site, sessions, tool};

#[test]
fn a_wrong_command_line_is_refused_with_code_2_and_says_what_to_do() {
    for (line, named) in [
        ("", "--help"),
        ("cleer", "no such command"),
        ("stats", "SESSIONS_STORE"),
        ("stats --store", "--store needs a value"),
        ("stats --store sqlite", "names no store"),
        ("stats --store sqlite::memory:", "in memory"),
        ("stats --store cached:redis://h/", "cached:"),
        ("stats --store file:a --store file:b", "one store"),
        (
            "stats --store env:SESSION_CLI_IS_NOT_SET",
            "SESSION_CLI_IS_NOT_SET",
        ),
        ("stats --store @/no/such/file", "/no/such/file"),
        ("stats --store-file /no/such/file", "/no/such/file"),
        ("stats --store file:a more", "too many"),
        ("stats --store file:a --owner 7", "no option --owner"),
        ("stats --store file:a --top many", "--top"),
        ("stats --stroe file:a", "--stroe"),
        ("stats -x", "-x"),
        ("stats --json=yes --store file:a", "--json takes no value"),
        ("list --store file:a", "--owner"),
        ("show --store file:a --owner 7", "handle"),
        (
            "show --store file:a --owner 7 nonsense",
            "24 hexadecimal digits",
        ),
        ("clear-expired --store file:a --rate 0", "--rate"),
        ("copy file:a", "TO is missing"),
        ("copy file:a file:b", "--journal"),
        ("copy file:a file:a --journal j", "same store"),
        (
            "copy --store file:a file:b file:c --journal j",
            "no option --store",
        ),
        ("reseal --store file:a", "--keys-env"),
        (
            "reseal --store file:a --keys-env SESSION_CLI_IS_NOT_SET",
            "SESSION_CLI_IS_NOT_SET",
        ),
        ("help nothing", "no help"),
        ("stats --progress loud --store file:a", "--progress"),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let ended = sessions(&arguments).with(2);
        assert!(
            ended.err.contains(named),
            "`{line}` was refused with: {}",
            ended.err
        );
        assert_eq!(ended.out, "", "`{line}` printed something");
    }
}

#[test]
fn every_command_has_help_and_the_overview_names_them_all() {
    let overview = sessions(&["--help"]).with(0).out;
    for command in [
        "migrate",
        "check",
        "clear-expired",
        "stats",
        "list",
        "show",
        "end",
        "end-all",
        "copy",
        "reseal",
    ] {
        assert!(
            overview.contains(&format!("\n  {command} ")),
            "{command} is not in: {overview}"
        );
        let help = sessions(&[command, "--help"]).with(0).out;
        assert!(help.contains(&format!("sessions {command}")), "{help}");
        assert_eq!(help, sessions(&["help", command]).with(0).out);
    }
    sessions(&["help", "stores"])
        .with(0)
        .says("redis-sentinel://");
    sessions(&["help", "exit-codes"]).with(0).says("5 ");
    sessions(&["help"]).with(0).says("COMMAND");
    sessions(&["--version"])
        .with(0)
        .says(env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_store_may_be_named_by_a_word_a_variable_or_a_file() {
    let site = Site::migrated(Kind::Sqlite);
    let path = site.folder().join("store");
    let mut file = File::create(&path).unwrap();
    writeln!(file, "{}\nand a note", site.named).unwrap();
    let path = path.display().to_string();
    let at_file = format!("@{path}");
    for (arguments, variable) in [
        (vec!["stats", "--store", &site.named], "UNUSED"),
        (vec!["stats"], "SESSIONS_STORE"),
        (
            vec!["stats", "--store", "env:SHOP_SESSIONS"],
            "SHOP_SESSIONS",
        ),
        (vec!["stats", "--store", &at_file], "UNUSED"),
        (vec!["stats", "--store-file", &path], "UNUSED"),
    ] {
        let output = tool(&arguments).env(variable, &site.named).output();
        let ended = Ended::of(output.unwrap()).with(0);
        ended.says(&site.named);
        assert!(!ended.err.contains("warning"), "{}", ended.err);
    }
}

#[test]
fn a_store_that_can_not_be_reached_is_code_1_in_words_and_in_json() {
    // Nobody listens there.
    let unreachable = "redis://127.0.0.1:1/";
    if cfg!(feature = "redis") {
        let ended = sessions(&["stats", "--store", unreachable]).with(1);
        ended.says("127.0.0.1:1");
        assert_eq!(ended.out, "");
        let ended = sessions(&["stats", "--json", "--store", unreachable]).with(1);
        assert!(ended.json()["error"].is_string());
        assert_eq!(ended.err, "");
    }
    for kind in Site::BOTH {
        let site = Site::empty(kind);
        for command in ["stats", "clear-expired"] {
            let ended = sessions(&[command, "--store", &site.named]).with(1);
            ended.says("sessions migrate");
        }
        let left = std::fs::read_dir(site.folder()).unwrap().count();
        assert_eq!(left, 0, "a command that looks has made a store");
    }
}

#[test]
fn a_password_on_the_command_line_is_warned_of_and_never_repeated() {
    // Nobody listens there.
    let with_password = "redis://ada:swordfish@127.0.0.1:1/0";
    for arguments in [
        vec!["stats", "--store", with_password],
        vec!["check", "--json", "--store", with_password],
        vec!["copy", with_password, "file:b", "--journal", "j"],
        // Mistakes that an operator makes in a hurry.
        vec!["stats", with_password],
        vec![
            "stats",
            "--json=postgres://ada:swordfish@h/d",
            "--store",
            "file:a",
        ],
        vec![with_password],
        vec!["stats", "--store", "postgress://ada:swordfish@h/d"],
        vec!["stats", "--stroe=postgres://ada:swordfish@h/d"],
        vec!["show", "--owner", "7", with_password, "--store", "file:a"],
    ] {
        let Ended { out, err, .. } = sessions(&arguments);
        assert!(
            !out.contains("swordfish") && !err.contains("swordfish"),
            "{arguments:?}: {out}{err}"
        );
    }
    let warned = sessions(&["check", "--store", with_password]);
    warned.says("every user of this machine");
    let quiet = sessions(&["check", "--quiet", "--store", with_password]);
    assert!(!quiet.err.contains("every user"), "{}", quiet.err);
    let hidden = tool(&["check"])
        .env("SESSIONS_STORE", with_password)
        .output();
    let hidden = Ended::of(hidden.unwrap());
    assert!(!hidden.err.contains("every user"), "{}", hidden.err);
}
