//! hyper alone: its services are tower's, by `TowerToHyperService`.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use session_http::{Error, LazySession, SessionLayer};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::{Layer, service_fn};

/// Answers the requests of one connection.
///
/// # Errors
///
/// When the connection breaks.
pub async fn serve<C>(connection: C, sessions: &SessionLayer) -> hyper::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(sessions.layer(service_fn(page)));
    http1::Builder::new()
        .serve_connection(TokioIo::new(connection), service)
        .await
}

async fn page(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = async {
        let session = LazySession::from_extensions(request.extensions())?;
        crate::answer(request.uri().path(), &session).await
    };
    Ok(match text.await {
        Ok(text) => Response::new(text.into()),
        Err(error) => refused(&error),
    })
}

fn refused(error: &Error) -> Response<Full<Bytes>> {
    let mut response = Response::new("Sorry\n".into());
    *response.status_mut() = error.status();
    response
}
