//! `Cookie` headers as Django parses them: under which of our requests it finds a session, and under which we do.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::COOKIE;
use http::{HeaderValue, Request};
use http_body_util::BodyExt;
use session_core::django::DjangoSettings;
use session_core::store::{StoreKey, Timestamp};
use session_http::Session;
use tower::ServiceExt;

use crate::support::{NOW, Site, cases};

const KEY: &str = "abcdefghijklmnopqrstuvwxyz012345";

/// Whose cookies a header holds, once the visitor's key stands where the vector has a word of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    /// Both find the session.
    Visitor,
    /// Nobody finds one.
    Nobody,
    /// A value that no key could have, which Django looks up all the same.
    NobodyHere(&'static str),
}
use Found::{Nobody, NobodyHere, Visitor};

/// Each header of the vectors, the word in it that is the visitor's key here, and who is found.
#[rustfmt::skip]
const HEADERS: [(&str, &str, Found); 15] = [
    ("sessionid=abc",                       "abc",          Visitor),
    // To Django the last one counts. Here all are looked up, and one alone must be a live session.
    ("sessionid=a; sessionid=b",            "b",            Visitor),
    ("a=1;sessionid=abc ; c=2",             "abc",          Visitor),
    ("sessionid",                           "",             Nobody),
    ("sessionid=",                          "",             NobodyHere("")),
    ("sessionid=\"quoted\"",                "quoted",       Visitor),
    ("sessionid=\"qu\\\"oted\"",            "",             NobodyHere("qu\"oted")),
    ("sessionid=\"abc\\000defgh\"",         "",             NobodyHere("abc\0defgh")),
    ("sessionid = spaced",                  "spaced",       Visitor),
    ("SESSIONID=upper",                     "upper",        Nobody),
    ("sessionid=a=b=c",                     "",             NobodyHere("a=b=c")),
    ("sessionid=\"unterminated",            "",             NobodyHere("\"unterminated")),
    ("sessionid=\u{e9}",                    "",             NobodyHere("\u{e9}")),
    ("; ;;",                                "",             Nobody),
    ("=x",                                  "x",            Nobody),
];

#[tokio::test]
async fn a_header_in_which_django_finds_a_key_has_it_here_as_well() {
    let vectors = cases("cookie_header", 15);
    for (vector, (header, word, found)) in vectors.iter().zip(HEADERS) {
        assert_eq!(vector["header"].as_str(), Some(header));
        let django = vector["parsed"]["sessionid"].as_str();
        let expected = match found {
            Visitor => Some(word),
            NobodyHere(value) => Some(value),
            Nobody => None,
        };
        assert_eq!(django, expected, "{header:?} is another to Django");

        let sent = if word.is_empty() {
            header.to_owned()
        } else {
            header
                .replace(&format!("={word}"), &format!("={KEY}"))
                .replace(&format!("= {word}"), &format!("= {KEY}"))
                .replace(&format!("\"{word}\""), &format!("\"{KEY}\""))
        };
        assert_eq!(sent.contains(KEY), !word.is_empty(), "{sent:?}");
        let whose = whose_session(&sent).await;
        let expected = if found == Visitor { "ada" } else { "nobody" };
        assert_eq!(whose, expected, "{sent:?} found another session");
    }
}

/// Sends the header, in which every character is one byte, to a site that has one visitor.
async fn whose_session(header: &str) -> String {
    let site = Site::new(DjangoSettings::new("a secret key"));
    let key = StoreKey::parse(KEY).expect("a key");
    let now = Timestamp::from_secs(NOW);
    site.put(&key, r#"{"name":"ada"}"#, now).await;
    let whose = async |session: Session| -> session_http::Result<String> {
        Ok(session.get("name")?.unwrap_or_else(|| "nobody".to_owned()))
    };
    let layer = site.layer().expect("Django's default cookie");
    let app = Router::new().route("/", get(whose)).layer(layer);
    let bytes: Vec<u8> = header
        .chars()
        .map(|character| u8::try_from(u32::from(character)).expect("a byte"))
        .collect();
    let header = HeaderValue::from_bytes(&bytes).expect("http lets this through");
    let request = Request::get("/").header(COOKIE, header).body(Body::empty());
    let Ok(response) = app.oneshot(request.expect("a request")).await;
    let body = response.into_body().collect().await.expect("the body ends");
    String::from_utf8(body.to_bytes().to_vec()).expect("a name")
}
