// Texts in the language of the page. English stands in the code; http/locale has the others, of which the box
// makes a module each: only the page's own is loaded, and none for English.
const ENGLISH = { texts: {}, plural: (n) => Number(n !== 1), decimal: "." };

const { lang } = document.documentElement;
const { texts, plural, decimal } = lang && lang !== "en" ? await import(`./catalogue/${lang}.js`) : ENGLISH;

/** What stands before the decimals of a number. */
export const DECIMAL = decimal;

/** A text in the page's language; %(name)s in it is replaced by `values.name`. */
export function _(text, values = {}) {
  return filled(texts[text] ?? text, values);
}

/** One of two texts by a number, which stands for %(num)s in it. */
export function n_(one, many, count, values = {}) {
  const forms = texts[one] ?? [one, many];
  const form = texts[one] ? plural(count) : ENGLISH.plural(count);
  return filled(forms[form], { num: count, ...values });
}

function filled(text, values) {
  return text.replace(/%\((\w+)\)s/g, (_whole, name) => String(values[name]));
}
