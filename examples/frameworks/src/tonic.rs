//! tonic: the layer goes around a service, or into `Server::layer`. Clients have no cookies, but metadata: the key comes as a
//! bearer token and is told as `session-token`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use session_http::tower::SessionService;
use session_http::{Error, LazySession, SessionLayer};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::{Layer, Service, service_fn};

/// The method that counts visits. Its request is the page's path, as a `google.protobuf.StringValue`; so is its answer.
pub const VISIT: &str = "/frameworks.Visits/Visit";

/// The service, with sessions.
#[must_use]
pub fn app(sessions: SessionLayer) -> SessionService<Visits> {
    sessions.with_bearer_token().layer(Visits)
}

/// What tonic's code generator would make of a `.proto` file with this one method.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Visits;

impl NamedService for Visits {
    const NAME: &'static str = "frameworks.Visits";
}

impl Service<http::Request<Body>> for Visits {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() != VISIT {
                return Ok(Status::unimplemented("there is only one method").into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::<String, String>::default());
            Ok(grpc.unary(service_fn(visit), request).await)
        })
    }
}

async fn visit(request: Request<String>) -> Result<Response<String>, Status> {
    let session =
        LazySession::from_extensions(request.extensions()).map_err(|error| refused(&error))?;
    let text = crate::answer(request.get_ref(), &session).await;
    if request.get_ref() == "/fail" {
        return Err(Status::internal("the service's own trouble"));
    }
    text.map(Response::new).map_err(|error| refused(&error))
}

fn refused(error: &Error) -> Status {
    if error.status().as_u16() == 503 {
        Status::unavailable("try again")
    } else {
        Status::internal("sorry")
    }
}
