// The page that shows a credential once.
import "./app.js";
import "./copying.js";
