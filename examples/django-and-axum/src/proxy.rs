//! Passes on to Django what is not ours, as a web server in front of both would do.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{self, HeaderName};
use axum::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::BoxError;

/// Headers that concern one connection alone (RFC 9110 §7.6.1).
const OF_THE_CONNECTION: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Where Django serves.
#[derive(Clone)]
pub(crate) struct Django {
    authority: Authority,
    client: Client<HttpConnector, Body>,
}

impl Django {
    pub(crate) fn at(url: &str) -> Result<Self, BoxError> {
        let authority = url
            .parse::<Uri>()
            .ok()
            .filter(|uri| uri.scheme() == Some(&Scheme::HTTP))
            .and_then(|uri| uri.authority().cloned())
            .ok_or_else(|| format!("{url} is no address as in http://127.0.0.1:8001"))?;
        Ok(Self {
            authority,
            client: Client::builder(TokioExecutor::new()).build_http(),
        })
    }

    /// Django's answer. It sees the `Host` that the browser asked for, cookies and all.
    pub(crate) async fn answer(self, mut request: Request) -> Response {
        let path = request.uri().path_and_query().cloned();
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority)
            .path_and_query(path.unwrap_or(PathAndQuery::from_static("/")))
            .build();
        let Ok(uri) = uri else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        *request.uri_mut() = uri;
        forget_connection(request.headers_mut());
        match self.client.request(request).await {
            Ok(mut response) => {
                forget_connection(response.headers_mut());
                response.into_response()
            }
            Err(error) => {
                tracing::error!("Django does not answer: {}", crate::chain(&error));
                (StatusCode::BAD_GATEWAY, "Django does not answer").into_response()
            }
        }
    }
}

fn forget_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in OF_THE_CONNECTION.into_iter().chain(named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn what_concerns_one_connection_is_not_passed_on_and_all_else_is() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("host", "127.0.0.1:8000"),
            ("set-cookie", "sessionid=a"),
            ("set-cookie", "csrftoken=b"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        forget_connection(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "set-cookie"]);
        assert_eq!(
            headers.get_all("set-cookie").iter().count(),
            2,
            "a cookie was lost"
        );
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_what_was_given() {
        for wrong in ["", "127.0.0.1:8001", "https://127.0.0.1:8001", "http://"] {
            let refused = Django::at(wrong).err().unwrap().to_string();
            assert!(
                refused.starts_with(wrong),
                "{wrong:?} was refused with: {refused}"
            );
        }
        let django = Django::at("http://127.0.0.1:8001").unwrap();
        assert_eq!(django.authority, "127.0.0.1:8001");
    }
}
