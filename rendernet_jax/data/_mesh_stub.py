from dataclasses import dataclass
import numpy as np
@dataclass(frozen=True)
class Mesh:
    vertices: np.ndarray
    faces: np.ndarray
    colors: object = None
def normalise(m):
    v=m.vertices.astype(np.float64); lo,hi=v.min(0),v.max(0)
    return Mesh(((v-(lo+hi)/2)/(hi-lo).max()).astype(np.float32),m.faces,m.colors)
