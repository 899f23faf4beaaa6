//! A visitor with a browser, and without a network.

use axum::Router;
use axum::body::{Body, to_bytes};
use http::header::{CONTENT_TYPE, LOCATION};
use session_http::browser::{Fetch, Jar};
use tower::ServiceExt;

/// A visitor of the site.
pub(crate) struct Browser {
    pub(crate) app: Router,
    pub(crate) jar: Jar,
}

impl Browser {
    pub(crate) fn new(app: &Router) -> Self {
        Self {
            app: app.clone(),
            jar: Jar::new(),
        }
    }

    /// The status, where the response leads to, and its body.
    pub(crate) async fn get(&mut self, path: &str) -> String {
        self.fetch(Fetch::get(&address(path)), "").await
    }

    pub(crate) async fn post(&mut self, path: &str, form: &str) -> String {
        self.fetch(Fetch::post(&address(path)), form).await
    }

    pub(crate) async fn log_in(&mut self, name: &str, password: &str) -> String {
        self.post("/log-in", &format!("name={name}&password={password}"))
            .await
    }

    async fn fetch(&mut self, fetch: Fetch, form: &str) -> String {
        let request = self.jar.request(&fetch);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.body(Body::from(form.to_owned())).unwrap();
        let Ok(response) = self.app.clone().oneshot(request).await;
        assert!(self.jar.receive(&fetch, response.headers()).is_empty());
        let status = response.status().as_u16();
        let location = response.headers().get(LOCATION);
        let location = location.map_or("", |location| location.to_str().unwrap());
        let location = location.split('?').next().unwrap().to_owned();
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        format!("{status} {location}{body}").trim().to_owned()
    }
}

fn address(path: &str) -> String {
    format!("https://shop.example.org{path}")
}
