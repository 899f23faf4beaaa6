//! A database of a walk's own, on a server.

use session_db::sqlx::mysql::MySqlConnection;
use session_db::sqlx::postgres::PgConnection;
use session_db::sqlx::{AssertSqlSafe, Connection as _, raw_sql};

/// Makes the database `name` on the server of `url`, instead of what an earlier walk left there, and gives its URL.
pub(crate) async fn made_at(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').expect("the URL names a database");
    for sql in [
        format!("DROP DATABASE IF EXISTS {name}"),
        format!("CREATE DATABASE {name}"),
    ] {
        let sql = raw_sql(AssertSqlSafe(sql));
        let done = if url.starts_with("postgres") {
            let mut connection = PgConnection::connect(url).await.unwrap();
            sql.execute(&mut connection).await.map(drop)
        } else {
            let mut connection = MySqlConnection::connect(url).await.unwrap();
            sql.execute(&mut connection).await.map(drop)
        };
        done.unwrap();
    }
    format!("{server}/{name}")
}
