//! How the pages look: on a desk and on a phone, by day and by night.

use crate::support::{PASSWORD, Setting, Store, Visitor, walk};

/// As long as the demo takes them, and without a place to break.
const LONG_NAME: &str =
    "Ada-Augusta-King-Countess-of-Lovelace-who-wrote-the-first-program-ever-published";

#[tokio::test]
async fn every_page_fits_its_screen_and_follows_the_colour_scheme() {
    walk(
        "appearance",
        Store::Files,
        [Setting::Ordinary, Setting::Ordinary],
        async |_demo, [visitor, other]: [Visitor; 2]| {
            let mut looks = Vec::new();
            visitor.open("/").await?;
            looks.extend(visitor.look("mail").await?);
            visitor.send_mail(LONG_NAME, "The engine").await?;
            looks.extend(visitor.look("mail-sent").await?);
            visitor.log_in("Ada", "wrong").await?;
            looks.extend(visitor.look("log-in-refused").await?);
            visitor.open("/login").await?;
            looks.extend(visitor.look("log-in").await?);

            visitor.log_in(LONG_NAME, PASSWORD).await?;
            looks.extend(visitor.look("sessions-one").await?);
            other.log_in(LONG_NAME, PASSWORD).await?;
            visitor.open("/sessions").await?;
            looks.extend(visitor.look("sessions").await?);
            visitor.press("#end-others").await?;
            looks.extend(visitor.look("sessions-ended").await?);
            visitor.open("/counter").await?;
            visitor.press("main form button").await?;
            looks.extend(visitor.look("counter").await?);
            visitor.open("/nowhere").await?;
            assert_eq!(visitor.text("h1").await?, "There is no such page");
            looks.extend(visitor.look("nowhere").await?);

            for look in looks {
                let picture = look.picture;
                assert!(!look.is_too_wide, "{picture}: one must scroll sideways");
                let is_bright = look.brightness > 127;
                assert_eq!(
                    is_bright,
                    look.scheme == "light",
                    "{picture}: wrong colours"
                );
            }
            Ok(())
        },
    )
    .await;
}
