//! What the walks share: the two services, and browsers.

mod browser;
mod place;

pub(crate) use browser::Browser;
pub(crate) use place::Place;

/// Each walk, once on every database.
macro_rules! on_each_database {
    ($($walk:ident),+ $(,)?) => {
        $crate::support::on_two_databases!($($walk),+);
        $crate::support::on_database!(on_mariadb, "SESSION_TEST_DJANGO_MARIADB", $($walk),+);
    };
}

/// Each walk on SQLite and on PostgreSQL: for what depends on Django, and hardly on its database.
macro_rules! on_two_databases {
    ($($walk:ident),+ $(,)?) => {
        $crate::support::on_database!(on_sqlite, "SESSION_TEST_DJANGO_SQLITE", $($walk),+);
        $crate::support::on_database!(on_postgres, "SESSION_TEST_DJANGO_POSTGRES", $($walk),+);
    };
}

macro_rules! on_database {
    ($name:ident, $variable:literal, $($walk:ident),+) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $walk() {
                    if let Some(place) = $crate::support::Place::named($variable) {
                        super::$walk(&place).await;
                    }
                }
            )+
        }
    };
}

pub(crate) use {on_database, on_each_database, on_two_databases};
