//! The frameworks whose clients are browsers: hyper alone, poem, salvo.

use std::pin::Pin;
use std::sync::Arc;

use frameworks::{hyper, poem, salvo};
use http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE, VARY};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::BodyExt;
use salvo_core::conn::ConnCtrl;
use salvo_core::conn::SocketAddr;
use session_core::conformance::Operation;
use session_http::SessionLayer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::site::Site;

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;
type App = Box<dyn Fn(Request<()>) -> Answer + Send + Sync>;

fn over_hyper(sessions: SessionLayer) -> App {
    Box::new(move |request| {
        let sessions = sessions.clone();
        Box::pin(async move {
            let (mut client, server) = duplex(64 * 1024);
            let served = tokio::spawn(async move { hyper::serve(server, &sessions).await });
            let mut wire = format!("GET {} HTTP/1.1\r\nconnection: close\r\n", request.uri());
            for (name, value) in request.headers() {
                wire += &format!("{name}: {}\r\n", value.to_str().unwrap());
            }
            client.write_all((wire + "\r\n").as_bytes()).await.unwrap();
            let mut response = String::new();
            client.read_to_string(&mut response).await.unwrap();
            served.await.unwrap().expect("the connection ends well");
            read(&response)
        })
    })
}

fn read(response: &str) -> Reply {
    let (head, body) = response.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    let lines = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    Reply {
        status: status.parse().unwrap(),
        headers: lines
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect(),
        body: body.to_owned(),
    }
}

fn over_poem(sessions: SessionLayer) -> App {
    use ::poem::{Endpoint, Request as PoemRequest};
    let app = Arc::new(poem::app(sessions));
    Box::new(move |request| {
        let app = Arc::clone(&app);
        Box::pin(async move {
            let mut translated = PoemRequest::builder().uri(request.uri().clone()).finish();
            *translated.headers_mut() = request.headers().clone();
            let response = app.get_response(translated).await;
            let (head, body) = response.into_parts();
            Reply {
                status: head.status,
                headers: head.headers,
                body: body.into_string().await.expect("text"),
            }
        })
    })
}

fn over_salvo(sessions: SessionLayer) -> App {
    on_salvo(salvo::app(sessions))
}

fn on_salvo(router: salvo_core::Router) -> App {
    let service = salvo_core::Service::new(router);
    Box::new(move |request| {
        let nowhere = || SocketAddr::Unknown;
        let control = ConnCtrl::new();
        let handler =
            service.hyper_handler(nowhere(), nowhere(), Scheme::HTTP, None, control, None);
        Box::pin(async move {
            let request = request.map(|()| salvo_core::http::ReqBody::None);
            let request = salvo_core::Request::from_hyper(request, Scheme::HTTP);
            let response = handler.handle(request).await.strip_to_hyper();
            let (head, body) = response.into_parts();
            let body = body.collect().await.expect("the body ends").to_bytes();
            Reply {
                status: head.status,
                headers: head.headers,
                body: String::from_utf8(body.to_vec()).expect("text"),
            }
        })
    })
}

macro_rules! over_every_framework {
    ($($test:ident),* $(,)?) => {
        over_every_framework!(@over over_hyper, super::over_hyper, $($test),*);
        over_every_framework!(@over over_poem, super::over_poem, $($test),*);
        over_every_framework!(@over over_salvo, super::over_salvo, $($test),*);
    };
    (@over $name:ident, $app:expr, $($test:ident),*) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $test() {
                    let site = crate::site::Site::new();
                    let app = $app(site.layer());
                    super::$test(site, app).await;
                }
            )*
        }
    };
}

over_every_framework!(
    a_visitor_is_recognized_by_the_cookie_until_the_log_out,
    a_store_that_is_down_is_503_and_takes_no_cookie_away,
);

fn get(path: &str, key: Option<&str>) -> Request<()> {
    let mut request = Request::get(path);
    if let Some(key) = key {
        request = request.header(COOKIE, format!("__Host-sessionid={key}"));
    }
    request.body(()).unwrap()
}

/// The key that the client was given: empty for a removal.
fn issued(reply: &Reply) -> Option<&str> {
    let cookie = reply.headers.get(SET_COOKIE)?.to_str().unwrap();
    let value = cookie
        .strip_prefix("__Host-sessionid=")
        .expect("our cookie");
    value.split(';').next()
}

async fn a_visitor_is_recognized_by_the_cookie_until_the_log_out(site: Site, app: App) {
    let first = app(get("/", None)).await;
    assert_eq!(
        (first.status, first.body.as_str()),
        (StatusCode::OK, "Visit number 1\n")
    );
    assert_eq!(first.headers[VARY], "Cookie");
    assert_eq!(first.headers[CACHE_CONTROL], "private");
    let key = issued(&first).expect("a cookie");
    let second = app(get("/", Some(key))).await;
    assert_eq!(second.body, "Visit number 2\n");
    assert_eq!(issued(&second), None, "the cookie is sent again");
    assert_eq!(
        app(get("/", None)).await.body,
        "Visit number 1\n",
        "somebody else"
    );
    assert_eq!(site.records(), 2);
    let goodbye = app(get("/log-out", Some(key))).await;
    assert_eq!(
        (goodbye.body.as_str(), issued(&goodbye)),
        ("Goodbye\n", Some(""))
    );
    assert_eq!(site.records(), 1);
    assert_eq!(app(get("/", Some(key))).await.body, "Visit number 1\n");
}

async fn a_store_that_is_down_is_503_and_takes_no_cookie_away(site: Site, app: App) {
    let first = app(get("/", None)).await;
    let key = issued(&first).expect("a cookie").to_owned();
    for operation in [Operation::Load, Operation::Save] {
        site.refuse(operation);
        let reply = app(get("/", Some(&key))).await;
        site.heal();
        assert_eq!(
            reply.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{operation:?}"
        );
        assert_eq!(issued(&reply), None, "{operation:?}");
        let is_ours = ["Sorry\n", ""].contains(&&*reply.body);
        assert!(is_ours, "{operation:?}: the client is told {}", reply.body);
    }
    assert_eq!(app(get("/", Some(&key))).await.body, "Visit number 2\n");
}

#[tokio::test]
async fn what_salvo_s_hoops_around_find_after_a_refusal_is_an_empty_request() {
    use salvo_core::{Depot, FlowCtrl, Request, Response, Router, async_trait};

    /// Says whether the request's headers are there before and after all that is inside.
    struct Around;

    #[async_trait]
    impl salvo_core::Handler for Around {
        async fn handle(
            &self,
            request: &mut Request,
            depot: &mut Depot,
            response: &mut Response,
            control: &mut FlowCtrl,
        ) {
            let before = !request.headers().is_empty();
            control.call_next(request, depot, response).await;
            let after = !request.headers().is_empty();
            let told = format!("{before} {after}").parse().unwrap();
            response.headers_mut().insert("told", told);
        }
    }

    let site = Site::new();
    let router = Router::new().hoop(Around).push(salvo::app(site.layer()));
    let app = on_salvo(router);
    let first = app(get("/", Some("none"))).await;
    assert_eq!(first.headers["told"], "true true");
    site.refuse(Operation::Save);
    let key = issued(&first).expect("a cookie");
    let refused = app(get("/", Some(key))).await;
    site.heal();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers["told"], "true false");
}
