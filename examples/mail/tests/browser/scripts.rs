//! A browser without JavaScript: nothing is missing.

use crate::support::{PASSWORD, Setting, Store, Visitor, walk};

/// Says whether scripts run.
const PROBE: &str = "data:text/html,<title>off</title><script>document.title = 'on'</script>";

#[tokio::test]
async fn everything_works_without_scripts() {
    walk(
        "scripts",
        Store::Files,
        [Setting::WithoutScripts],
        async |_demo, [visitor]: [Visitor; 1]| {
            visitor.browser.goto(PROBE).await?;
            assert_eq!(
                visitor.browser.title().await?,
                "off",
                "this browser was to run no scripts"
            );

            visitor.open("/").await?;
            visitor.send_mail("Ada Lovelace", "no scripts").await?;
            assert_eq!(visitor.filled_in("#from_name").await?, "Ada Lovelace");
            visitor.log_in("ada", PASSWORD).await?;
            assert_eq!(visitor.owner().await?.as_deref(), Some("ada"));
            assert_eq!(visitor.count(".sessions li").await?, 1);
            visitor.open("/counter").await?;
            for drawn in ["1", "2"] {
                visitor.press("main form button").await?;
                assert_eq!(visitor.text("#drew strong").await?, drawn);
            }
            visitor.press("#logout").await?;
            assert_eq!(visitor.owner().await?, None);
            Ok(())
        },
    )
    .await;
}
