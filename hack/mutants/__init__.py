"""Small bugs, planted one by one in the rules of the drain, to see whether a unit test falls. See docs/adr/0010."""
