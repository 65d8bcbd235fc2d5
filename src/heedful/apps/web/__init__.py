"""The site where people label: routes, forms, pages. What it keeps is in `feedback`; what it looks like comes from `rendering`."""
