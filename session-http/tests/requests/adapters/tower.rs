//! The application as a plain tower service, and what such services have of their own.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use http::{Extensions, HeaderValue, Request, Response, StatusCode};
use session_core::conformance::{Call, Operation};
use session_http::{
    Error, LazySession, NoActivity, RequireOwner, Session, SessionLayer, SessionOf,
};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{App, Said, act, members_only, write_marked};
use crate::streaming::Late;
use crate::support::{Reply, Site, cookie_of, get, post};

pub(super) fn app(layers: &[SessionLayer]) -> Pin<Box<dyn Future<Output = App>>> {
    let service = service_fn(async |request: Request<Body>| {
        if request.uri().path().starts_with("/quiet/") {
            let quiet = NoActivity::new().layer(service_fn(serve));
            return quiet.oneshot(request).await;
        }
        if request.uri().path().starts_with("/members/") {
            let members = members_only().layer(service_fn(serve));
            return members.oneshot(request).await;
        }
        serve(request).await
    });
    let app = match layers {
        [] => of(service),
        [one] => of(one.layer(service)),
        [inner, outer] => of(outer.layer(inner.layer(service))),
        _ => panic!("two layers at most"),
    };
    Box::pin(ready(app))
}

async fn serve(request: Request<Body>) -> Result<Response<Late>, Infallible> {
    let (head, _) = request.into_parts();
    let (path, extensions) = (head.uri.path(), &head.extensions);
    let acted = match path {
        "/extracted" => extracted(extensions).await,
        "/marked" => SessionOf::from_extensions(extensions)
            .await
            .and_then(|session| write_marked(&session)),
        "/number" => RequireOwner::<u32>::from_extensions(extensions)
            .await
            .map(|RequireOwner(number)| Said::text(number.to_string())),
        path => match LazySession::from_extensions(extensions) {
            Ok(session) => {
                let page = path.rsplit('/').next().unwrap_or_default();
                act(page, session).await
            }
            Err(error) => Err(error),
        },
    };
    let mut response = Response::<Late>::default();
    match acted {
        Ok(said) => {
            *response.status_mut() = said.status;
            for (name, value) in said.headers {
                let value = HeaderValue::from_static(value);
                response.headers_mut().append(*name, value);
            }
            *response.body_mut() = Late::of(said.text);
        }
        Err(error) => {
            *response.status_mut() = error.status();
            response.extensions_mut().insert(Arc::new(error));
        }
    }
    Ok(response)
}

async fn extracted(extensions: &Extensions) -> Result<Said, Error> {
    let one = Session::from_extensions(extensions).await?;
    one.set("a", &1)?;
    let two = Session::from_extensions(extensions).await?;
    Ok(Said::text(two.len().to_string()))
}

fn of<S>(service: S) -> App
where
    S: Service<Request<Body>, Response = Response<Late>, Error = Infallible> + Clone + 'static,
{
    Box::new(move |request| {
        let service = service.clone();
        Box::pin(async move {
            let Ok(response) = service.oneshot(request).await;
            Reply::of(response).await
        })
    })
}

#[tokio::test]
async fn a_service_whose_body_is_not_axum_s_is_answered_with_an_empty_one() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let app = app(&[site.layer()]).await;
    site.store.refuse(Call::of(Operation::Save).and_later());
    let reply = app(post("/write", Some(&cookie_of(&key)))).await;
    assert!(site.store.clear_faults());
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.body, "");
    assert!(!reply.headers.contains_key("content-type"));
}

#[tokio::test]
async fn an_error_of_the_service_itself_stores_nothing() {
    let site = Site::new();
    let service = site
        .layer()
        .layer(service_fn(async |request: Request<Body>| {
            let session = Session::from_extensions(request.extensions())
                .await
                .unwrap();
            session.set("n", &1).unwrap();
            Err::<Response<Body>, _>("the connection to the other service broke")
        }));
    let answer = service.oneshot(get("/", None)).await;
    assert_eq!(
        answer.unwrap_err(),
        "the connection to the other service broke"
    );
    assert_eq!(site.records(), 0);
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    /// Counts the calls that nobody asked readiness for.
    #[derive(Clone, Default)]
    struct Strict(bool);

    impl Service<Request<Body>> for Strict {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            self.0 = true;
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            assert!(std::mem::take(&mut self.0), "called without being ready");
            ready(Ok(Response::default()))
        }
    }

    let service = Site::new().layer().layer(Strict::default());
    for _ in 0..2 {
        let Ok(response) = service.clone().oneshot(get("/", None)).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
}
