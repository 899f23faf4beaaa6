//! actix-session, with any store. It publishes none in memory; where the others are measured with theirs, it keeps its sessions
//! in encrypted cookies.

use actix_session::storage::SessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::dev::HttpServiceFactory;
use actix_web::{Error, HttpResponse, web};
use harness::{CART, EMAIL, NAME, SEEN, TOKEN, cart, next_number};

use crate::actix_app::hello;

type Answer = Result<HttpResponse, Error>;

pub(crate) fn routes<S: SessionStore + 'static>(
    store: S,
    key: &Key,
) -> impl HttpServiceFactory + use<S> {
    web::scope("")
        .wrap(SessionMiddleware::new(store, key.clone()))
        .route("/", web::get().to(hello))
        .route("/seed", web::get().to(seed))
        .route("/seed-large", web::get().to(seed_large))
        .route("/read", web::get().to(read))
        .route("/write", web::get().to(write))
        .route("/login", web::get().to(log_in))
        .route("/logout", web::get().to(log_out))
}

async fn seed(session: Session) -> Answer {
    for (name, value) in [NAME, EMAIL, TOKEN] {
        session.insert(name, value)?;
    }
    Ok(hello().await)
}

async fn seed_large(session: Session) -> Answer {
    session.insert(CART, cart())?;
    seed(session).await
}

async fn read(session: Session) -> Answer {
    let name: Option<String> = session.get(NAME.0)?;
    let text = if name.is_some() { "hello" } else { "who?" };
    Ok(HttpResponse::Ok().body(text))
}

async fn write(session: Session) -> Answer {
    session.insert(SEEN, next_number())?;
    Ok(hello().await)
}

async fn log_in(session: Session) -> Answer {
    session.renew();
    session.insert("user", 7_u64)?;
    Ok(hello().await)
}

async fn log_out(session: Session) -> HttpResponse {
    session.purge();
    hello().await
}
