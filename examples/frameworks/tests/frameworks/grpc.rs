//! tonic, whose clients send their key in the metadata.

use frameworks::tonic::{VISIT, app};
use http::uri::PathAndQuery;
use session_core::conformance::Operation;
use session_http::tower::SessionService;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::site::Site;

type Client = Grpc<SessionService<frameworks::tonic::Visits>>;

/// Gives the answer and the metadata that came with it.
async fn call(site: &Site, path: &str, key: Option<&str>) -> Result<(String, MetadataMap), Status> {
    let mut client: Client = Grpc::new(app(site.layer()));
    client.ready().await.expect("the service is ready");
    let mut request = Request::new(path.to_owned());
    if let Some(key) = key {
        let bearer = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
    }
    let method = PathAndQuery::from_static(VISIT);
    let response = client.unary(request, method, ProstCodec::default()).await?;
    let (metadata, text, _) = response.into_parts();
    Ok((text, metadata))
}

fn issued(metadata: &MetadataMap) -> Option<&str> {
    metadata
        .get("session-token")
        .map(|key| key.to_str().unwrap())
}

#[tokio::test]
async fn a_client_is_recognized_by_its_token_until_the_log_out() {
    let site = Site::new();
    let (text, metadata) = call(&site, "/", None).await.unwrap();
    assert_eq!(text, "Visit number 1\n");
    let key = issued(&metadata).expect("a token");
    let (text, metadata) = call(&site, "/", Some(key)).await.unwrap();
    assert_eq!(
        (text.as_str(), issued(&metadata)),
        ("Visit number 2\n", None)
    );
    let (text, metadata) = call(&site, "/log-out", Some(key)).await.unwrap();
    assert_eq!((text.as_str(), issued(&metadata)), ("Goodbye\n", Some("")));
    assert_eq!(site.records(), 0);
}

#[tokio::test]
async fn a_store_that_is_down_is_unavailable() {
    let site = Site::new();
    let (_, metadata) = call(&site, "/", None).await.unwrap();
    let key = issued(&metadata).expect("a token");
    for operation in [Operation::Load, Operation::Save] {
        site.refuse(operation);
        let status = call(&site, "/", Some(key)).await.unwrap_err();
        site.heal();
        assert_eq!(status.code(), Code::Unavailable, "{operation:?}");
        assert_eq!(issued(status.metadata()), None, "{operation:?}");
    }
    let (text, _) = call(&site, "/", Some(key)).await.unwrap();
    assert_eq!(text, "Visit number 2\n");
}

#[tokio::test]
async fn a_method_s_own_error_is_no_server_error_of_http_and_keeps_what_was_changed() {
    let site = Site::new();
    let (_, metadata) = call(&site, "/", None).await.unwrap();
    let key = issued(&metadata).expect("a token");
    let status = call(&site, "/fail", Some(key)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    let (text, _) = call(&site, "/", Some(key)).await.unwrap();
    assert_eq!(text, "Visit number 3\n", "the layer sees the status 200");
}
