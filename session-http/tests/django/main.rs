//! The cookie and the responses of a Django project, beside what real Django does with the same requests.

#[cfg(test)]
mod cookie_header;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod deviations;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod signed_cookies;
#[cfg(test)]
mod support;
