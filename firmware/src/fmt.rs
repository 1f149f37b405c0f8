//! One log facade: the same macro calls go to `log`, to `defmt` or nowhere.
//!
//! Arguments must implement both `Display` and, with feature `defmt`,
//! `defmt::Format`; `{}` is the one placeholder used.

#[cfg(all(feature = "log", feature = "defmt"))]
compile_error!("choose one of the features `log` and `defmt`");

#[rustfmt::skip] // Nested macros drift to the right with every run.
macro_rules! log_macro {
    ($d:tt $name:ident) => {
        #[allow(unused_macros)]
        macro_rules! $name {
            ($d($d arg:tt)*) => {{
                #[cfg(feature = "log")]
                ::log::$name!($d($d arg)*);
                #[cfg(feature = "defmt")]
                ::defmt::$name!($d($d arg)*);
                #[cfg(not(any(feature = "log", feature = "defmt")))]
                { let _ = ::core::format_args!($d($d arg)*); }
            }};
        }
    };
}

log_macro!($ trace);
log_macro!($ debug);
log_macro!($ info);
log_macro!($ warn);
log_macro!($ error);
