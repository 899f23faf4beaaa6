//! The counter: several tabs at once, and nothing lost.

use serde_json::Value;

use crate::support::{Setting, Store, Visitor, walk};

/// How many requests each tab sends at once.
const AT_ONCE: u64 = 20;

/// How often the button is pressed meanwhile.
const PRESSES: u64 = 5;

/// Presses the button many times at once, and does not wait. The page that answers has the drawn number in its address.
const HAMMER: &str = "
    const press = () => fetch('/counter', { method: 'POST', credentials: 'same-origin' })
        .then(answer => Number(new URL(answer.url).searchParams.get('drew')));
    window.drawn = Promise.all(Array.from({ length: Number(arguments[0]) }, press));
";

const DRAWN: &str = "
    const done = arguments[arguments.length - 1];
    window.drawn.then(done, problem => done(String(problem)));
";

#[tokio::test]
async fn two_tabs_lose_no_press_and_never_draw_the_same_number() {
    walk(
        "counter",
        Store::Files,
        [Setting::Ordinary],
        async |_demo, [visitor]: [Visitor; 1]| {
            let at_once = AT_ONCE.to_string();
            let mut drawn = Vec::new();
            visitor.open("/counter").await?;
            visitor.press("main form button").await?;
            drawn.push(visitor.number("#drew strong").await?);

            visitor.open_in_new_tab("/counter").await?;
            visitor.run(HAMMER, &[&at_once]).await?;
            visitor.open_in_new_tab("/counter").await?;
            visitor.run(HAMMER, &[&at_once]).await?;
            visitor.switch_to_tab(0).await?;
            for _press in 0..PRESSES {
                visitor.press("main form button").await?;
                drawn.push(visitor.number("#drew strong").await?);
            }
            for tab in [1, 2] {
                visitor.switch_to_tab(tab).await?;
                let numbers = visitor.browser.execute_async(DRAWN, vec![]).await?;
                let numbers = numbers.as_array().cloned();
                drawn.extend(numbers.iter().flatten().filter_map(Value::as_u64));
            }

            let presses = 1 + PRESSES + 2 * AT_ONCE;
            drawn.sort_unstable();
            assert_eq!(
                drawn,
                (1..=presses).collect::<Vec<_>>(),
                "the numbers that were drawn are not one for each press"
            );
            for tab in [0, 1, 2] {
                visitor.switch_to_tab(tab).await?;
                visitor.open("/counter").await?;
                assert_eq!(
                    visitor.number("#count").await?,
                    presses,
                    "a tab shows that presses were lost"
                );
            }
            Ok(())
        },
    )
    .await;
}
