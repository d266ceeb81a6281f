// Shows openapi.json for people.
const description = await (await fetch("openapi.json")).json();
const make = (tag, text, ...children) => {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};
const rows = Object.entries(description.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, about]) => make(
  "tr", "",
  make("th", `${method.toUpperCase()} ${path}`),
  make("td", about.summary, ...(about.description ? [make("p", about.description)] : [])),
  make("td", Object.entries(about.responses).map(([code, answer]) => `${code}: ${answer.description}`).join("; ")),
)));
document.getElementById("api").append(make("section", "", make("h1", description.info.title), make("p", description.info.description), make("table", "", ...rows)));
