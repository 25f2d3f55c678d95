// A photo to draw on. Points are in pixels of the photo; every finished stroke is one message to Python, which keeps the list.
const LINE = {1: "#00ffd0", 0: "#ff5050"};           // on the thing, off it

function render({ model, el }) {
  const photo = document.createElement("img"), canvas = document.createElement("canvas"), board = document.createElement("div");
  board.className = "fsslib-board";
  board.append(photo, canvas);
  el.append(board);
  board.style.cssText = "position: relative; display: inline-block; line-height: 0; touch-action: none";
  canvas.style.cssText = "position: absolute; left: 0; top: 0; width: 100%; height: 100%; cursor: crosshair";
  canvas.tabIndex = 0;
  const pen = canvas.getContext("2d");
  let current = null;                                // the stroke under the mouse

  const shown = () => {
    current = null;
    URL.revokeObjectURL(photo.src);
    photo.src = URL.createObjectURL(new Blob([model.get("image")]));
  };
  photo.onload = () => {
    photo.style.width = `${model.get("width")}px`;
    canvas.width = photo.naturalWidth;
    canvas.height = photo.naturalHeight;
    draw();
  };
  const place = event => {
    const frame = canvas.getBoundingClientRect(), inside = (v, most) => Math.min(Math.max(v, 0), most);
    return [inside((event.clientX - frame.left) * canvas.width / frame.width, canvas.width),
            inside((event.clientY - frame.top) * canvas.height / frame.height, canvas.height)];
  };
  const draw = () => {
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.lineWidth = Math.max(2, canvas.width / 120);
    pen.lineCap = pen.lineJoin = "round";
    for (const { kind, label, points } of current ? [...model.get("strokes"), current] : model.get("strokes")) {
      pen.strokeStyle = LINE[label];
      pen.beginPath();
      if (kind === "box" && points.length > 1) pen.rect(...points[0], points[1][0] - points[0][0], points[1][1] - points[0][1]);
      else points.forEach(([x, y], at) => at ? pen.lineTo(x, y) : pen.moveTo(x, y));
      if (kind === "polygon" && points !== current?.points) pen.closePath();
      pen.stroke();
    }
  };
  const finish = () => {
    if (current && current.points.length > (current.kind === "polygon" ? 2 : current.kind === "box" ? 1 : 0))
      model.send({ ...current, points: current.points.map(([x, y]) => [Math.round(10 * x) / 10, Math.round(10 * y) / 10]) });
    current = null;
    draw();
  };

  canvas.onpointerdown = event => {
    if (!event.isPrimary || event.button) return;
    const kind = model.get("tool"), point = place(event);
    canvas.setPointerCapture(event.pointerId);
    canvas.focus();
    if (kind === "polygon" && current) current.points.push(point);
    else current = { kind, label: kind === "scribble" ? model.get("label") : 1, points: [point] };
    draw();
  };
  canvas.onpointermove = event => {
    if (!current || current.kind === "polygon" || !event.buttons || !event.isPrimary) return;
    current.kind === "box" ? current.points[1] = place(event) : current.points.push(place(event));
    draw();
  };
  canvas.onpointerup = event => event.isPrimary && current?.kind !== "polygon" && finish();
  canvas.onpointercancel = () => { current = null; draw(); };
  canvas.ondblclick = () => { current?.points.pop(); finish(); };          // the second click of the two is no corner
  canvas.onkeydown = event => {
    if (event.key === "Enter") finish();
    if (event.key === "Escape") { current = null; draw(); }
  };
  model.on("change:image", shown);
  model.on("change:strokes", draw);
  shown();
}

export default { render };
