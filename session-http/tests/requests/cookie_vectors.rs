//! `Cookie` headers as clients send them, sound or not: one per line, with whose session is found.
use axum::Router;
use axum::routing::get as on_get;
use http::header::COOKIE;
use http::{HeaderValue, StatusCode};
use session_core::conformance::Operation;
use session_http::Session;

use crate::support::{COOKIE_NAME, CookieChange, Site, get, send};

/// A site with two visitors, and a page that says whose session it sees.
struct Vectors {
    site: Site,
    app: Router,
    ada: String,
    bob: String,
}

impl Vectors {
    async fn new() -> Self {
        let site = Site::new();
        let ada = site
            .visitor(|session| session.set("name", "ada").unwrap())
            .await;
        let bob = site
            .visitor(|session| session.set("name", "bob").unwrap())
            .await;
        let whose = async |session: Session| -> session_http::Result<String> {
            Ok(session.get("name")?.unwrap_or_else(|| "nobody".to_owned()))
        };
        let app = Router::new().route("/", on_get(whose)).layer(site.layer());
        Self {
            site,
            app,
            ada,
            bob,
        }
    }

    /// Sends the headers, in which `N` is the cookie's name, `A` and `B` are the visitors' keys, and `U` is a key that
    /// nobody has. Gives who was seen, and how many look-ups that cost.
    async fn ask(&self, headers: &[Vec<u8>]) -> (String, u64) {
        let mut request = get("/", None);
        for header in headers {
            let value = HeaderValue::from_bytes(header).expect("http lets this through");
            request.headers_mut().append(COOKIE, value);
        }
        self.site.store.inner().reset();
        let reply = send(&self.app, request).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(
            reply.cookie(),
            CookieChange::Untouched,
            "a request that only reads changed the cookie"
        );
        (reply.body, self.site.store.inner().count(Operation::Load))
    }

    fn fill(&self, template: &str) -> Vec<u8> {
        let mut header = Vec::new();
        for character in template.chars() {
            match character {
                'N' => header.extend_from_slice(COOKIE_NAME.as_bytes()),
                'A' => header.extend_from_slice(self.ada.as_bytes()),
                'B' => header.extend_from_slice(self.bob.as_bytes()),
                'U' => header.extend_from_slice(b"abcdefghijklmnopqrstuvwxyz012345"),
                'É' => header.push(0xe9),
                other => header.push(u8::try_from(u32::from(other)).expect("ASCII")),
            }
        }
        header
    }
}

#[tokio::test]
async fn fix_08_cook_11_in_10_a_cookie_header_is_one_live_session_or_nobody() {
    let vectors = Vectors::new().await;
    #[rustfmt::skip]
    let rows: &[(&[&str], &str, u64)] = &[
        // headers                                              whose      look-ups
        (&[],                                                   "nobody",  0),
        (&[""],                                                 "nobody",  0),
        (&["N=A"],                                              "ada",     1),
        (&["N=\"A\""],                                          "ada",     1),
        (&["  N = A  "],                                        "ada",     1),
        (&["x=1; N=A; y=2"],                                    "ada",     1),
        (&["x=1;N=A;y=2"],                                      "ada",     1),
        (&["x=1", "N=A"],                                       "ada",     1),
        (&["N=A", "y=2"],                                       "ada",     1),
        (&["x", ";;", "=", "N=A"],                              "ada",     1),
        (&["x=É; N=A"],                                         "ada",     1),
        (&["É=É; N=A; É"],                                      "ada",     1),
        (&["x=\"; N=A"],                                        "ada",     1),
        // Other names, in all ways in which a name can be nearly ours.
        (&["sessionid=A"],                                      "nobody",  0),
        (&["N2=A; xN=A; N-=A"],                                 "nobody",  0),
        (&["__host-sessionid=A; __HOST-SESSIONID=A"],           "nobody",  0),
        (&["=N=A"],                                             "nobody",  0),
        (&["N"],                                                "nobody",  0),
        // Values that are no keys cost nothing.
        (&["N="],                                               "nobody",  0),
        (&["N=abc"],                                            "nobody",  0),
        (&["N=AA"],                                             "nobody",  0),
        (&["N=A=x"],                                            "nobody",  0),
        (&["N=A x"],                                            "nobody",  0),
        (&["N=\"\"A\"\""],                                      "nobody",  0),
        (&["N=\"A"],                                            "nobody",  0),
        (&["N=../../../../../etc/passwd"],                      "nobody",  0),
        (&["N=ÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉ"],                 "nobody",  0),
        (&["N=ABCDEFGHIJKLMNOPQRSTUVWXYZ"],                     "nobody",  0),
        // Several of our name: a cookie for another path, or one that somebody planted.
        (&["N=U"],                                              "nobody",  1),
        (&["N=abc; N=A"],                                       "ada",     1),
        (&["N=A; N=abc"],                                       "ada",     1),
        (&["N=A; N=A"],                                         "ada",     1),
        (&["N=A", "N=A"],                                       "ada",     1),
        (&["N=U; N=A"],                                         "ada",     2),
        (&["N=A; N=U"],                                         "ada",     2),
        (&["N=A; N=B"],                                         "nobody",  2),
        (&["N=A", "N=B"],                                       "nobody",  2),
    ];
    for (headers, whose, look_ups) in rows {
        let filled: Vec<_> = headers.iter().map(|header| vectors.fill(header)).collect();
        let met = vectors.ask(&filled).await;
        assert_eq!(met, ((*whose).to_owned(), *look_ups), "{headers:?}");
    }
}

/// Keys that nobody has, all different.
fn keys(count: u32) -> Vec<String> {
    (0..count).map(|number| format!("{number:032}")).collect()
}

#[tokio::test]
async fn in_11_more_keys_than_four_are_nobody_and_are_not_looked_up() {
    let vectors = Vectors::new().await;
    for (others, whose, look_ups) in [
        (0, "ada", 1),
        (3, "ada", 4),
        (4, "nobody", 0),
        (9, "nobody", 0),
    ] {
        let mut values = keys(others);
        values.push(vectors.ada.clone());
        let pair = |key: &String| format!("{COOKIE_NAME}={key}");
        let one_header = values.iter().map(pair).collect::<Vec<_>>().join("; ");
        let met = vectors.ask(&[one_header.into_bytes()]).await;
        assert_eq!(
            met,
            (whose.to_owned(), look_ups),
            "{others} others in one header"
        );
        let headers: Vec<_> = values.iter().map(|key| pair(key).into_bytes()).collect();
        let met = vectors.ask(&headers).await;
        assert_eq!(
            met,
            (whose.to_owned(), look_ups),
            "{others} others in their own headers"
        );
    }
    let ten_times = vec![vectors.fill("N=A"); 10];
    assert_eq!(
        vectors.ask(&ten_times).await,
        ("ada".to_owned(), 1),
        "the same key ten times is one"
    );
}

#[tokio::test]
async fn dos_04_in_11_sixty_four_kilobytes_of_cookies_are_no_trouble() {
    let vectors = Vectors::new().await;
    let filler = "x=0123456789; ".repeat(64 * 1024 / 14);
    for (what, header, whose, look_ups) in [
        ("other cookies", format!("{filler}N=A"), "ada", 1),
        (
            "semicolons",
            format!("{}N=A", ";".repeat(64 * 1024)),
            "ada",
            1,
        ),
        (
            "our name and no key",
            format!("{}N=A", "N=x; ".repeat(64 * 1024 / 20)),
            "ada",
            1,
        ),
        (
            "one long value",
            format!("N={}", "a".repeat(64 * 1024)),
            "nobody",
            0,
        ),
        (
            "one long name",
            format!("{}=A", "N".repeat(4 * 1024)),
            "nobody",
            0,
        ),
        (
            "quotes",
            format!("N={}", "\"".repeat(64 * 1024)),
            "nobody",
            0,
        ),
    ] {
        let met = vectors.ask(&[vectors.fill(&header)]).await;
        assert_eq!(met, (whose.to_owned(), look_ups), "{what}");
    }
    let many = keys(2_000)
        .iter()
        .map(|key| format!("{COOKIE_NAME}={key}"))
        .collect::<Vec<_>>();
    let met = vectors.ask(&[many.join("; ").into_bytes()]).await;
    assert_eq!(met, ("nobody".to_owned(), 0), "two thousand keys");
}
