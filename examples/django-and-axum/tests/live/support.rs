//! What the walks share: the two services, and browsers.

mod browser;
mod place;

pub(crate) use browser::Browser;
pub(crate) use place::Place;

/// Each walk, once on every database.
macro_rules! on_each_database {
    ($($walk:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $walk() {
                    if let Some(place) = $crate::support::Place::named("SESSION_TEST_DJANGO_SQLITE") {
                        super::$walk(&place).await;
                    }
                }
            )+
        }
        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $walk() {
                    if let Some(place) = $crate::support::Place::named("SESSION_TEST_DJANGO_POSTGRES") {
                        super::$walk(&place).await;
                    }
                }
            )+
        }
    };
}

pub(crate) use on_each_database;
