//! What is particular to each framework: actix-web, hyper alone, tonic, poem, salvo.
#![cfg_attr(
    any(feature = "actix-web", not(doctest)),
    doc = include_str!("../docs/frameworks.md")
)]
