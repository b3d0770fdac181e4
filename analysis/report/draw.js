// A figure is drawn when it comes near to what is seen: a page of a full study opens at once.
// Small multiples get as many columns as there is room for, in rows as equal as can be; then all is stretched to the page.
const draw = figure => figure.drawing ??= drawn(figure);
const drawn = async figure => {
  figure.dataset.drawn = "yes";
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const [menus, plot] = figure.querySelectorAll("div");
  const room = () => plot.clientWidth - 24;
  if (spec.facet) {
    const most = Math.max(1, Math.floor(room() / spec.usermeta.panel));
    spec.columns = Math.ceil(spec.columns / Math.ceil(spec.columns / most));
  }
  const {view} = await vegaEmbed(plot, spec, {bind: menus, renderer: "svg", downloadFileName: figure.id,
    actions: {export: true, source: false, compiled: false, editor: false}});
  const width = spec.facet ? "child_width" : "width";
  for (let pass = 0; pass < 2; pass++) {  // again, as wider panels have other labels
    const spare = (room() - plot.querySelector("svg").getAttribute("width")) / (spec.columns || 1);
    await view.signal(width, Math.max(view.signal(width) + Math.floor(spare), 120)).resize().runAsync();
  }
};
const figures = document.querySelectorAll("figure.view");
const seen = new IntersectionObserver(entries => entries.forEach(one => one.isIntersecting && draw(one.target)),
  {rootMargin: "300px"});
figures.forEach(figure => seen.observe(figure));
const folded = document.querySelectorAll("details");
window.addEventListener("beforeprint", () => {figures.forEach(draw); folded.forEach(one => one.open = true);});
