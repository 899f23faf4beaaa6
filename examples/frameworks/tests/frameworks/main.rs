//! What every framework's requests do to the store, and what their responses get.

#[cfg(test)]
mod browsers;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod site;
