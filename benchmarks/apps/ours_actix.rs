//! Our sessions in actix-web, with any store.

use actix_web::dev::HttpServiceFactory;
use actix_web::{HttpResponse, web};
use harness::{CART, EMAIL, NAME, SEEN, TOKEN, cart, next_number};
use session_http::{LazySession, Result, Session, SessionLayer};

use crate::actix_app::hello;

pub(crate) fn routes(layer: SessionLayer) -> impl HttpServiceFactory {
    web::scope("")
        .wrap(layer)
        .route("/", web::get().to(hello))
        .route("/seed", web::get().to(seed))
        .route("/seed-large", web::get().to(seed_large))
        .route("/read", web::get().to(read))
        .route("/write", web::get().to(write))
        .route("/login", web::get().to(log_in))
        .route("/logout", web::get().to(log_out))
}

async fn seed(session: Session) -> Result<HttpResponse> {
    for (name, value) in [NAME, EMAIL, TOKEN] {
        session.set(name, value)?;
    }
    Ok(hello().await)
}

async fn seed_large(session: Session) -> Result<HttpResponse> {
    session.set(CART, &cart())?;
    seed(session).await
}

async fn read(session: Session) -> Result<HttpResponse> {
    let name: Option<String> = session.get(NAME.0)?;
    let text = if name.is_some() { "hello" } else { "who?" };
    Ok(HttpResponse::Ok().body(text))
}

async fn write(session: Session) -> Result<HttpResponse> {
    session.set(SEEN, &next_number())?;
    Ok(hello().await)
}

async fn log_in(session: Session) -> Result<HttpResponse> {
    session.log_in(7_u64)?;
    Ok(hello().await)
}

async fn log_out(session: LazySession) -> HttpResponse {
    session.log_out();
    hello().await
}
