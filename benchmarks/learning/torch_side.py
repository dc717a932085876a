"""PyTorch's side of training_cost.py: the unrolled network for MRI, channels first, Adam of torch.optim."""

import numpy as np
import torch
from torch.nn import functional as F
from worker import serve


def unrolled(problem, case):
    """A training step; its answer is the loss before the first one."""
    torch.manual_seed(0)
    depth = int(problem["depth"])
    arrays = [torch.from_numpy(problem[f"w{i:02d}"]) for i in range(2 * depth)]
    kernels = [torch.nn.Parameter(k.permute(0, 4, 3, 1, 2).contiguous()) for k in arrays[::2]]  # (P, out, in, 3, 3)
    biases = [torch.nn.Parameter(b.clone()) for b in arrays[1::2]]
    noise = torch.nn.Parameter(torch.log(torch.from_numpy(problem["noise"])))
    mask, b, x = (torch.from_numpy(problem[name]) for name in ("mask", "b", "x"))
    optimiser = torch.optim.Adam([*kernels, *biases, noise], lr=1e-3)
    ny, nx = x.shape[1:]
    signs = torch.from_numpy((-1.0) ** np.add.outer(np.arange(ny), np.arange(nx))).float()
    shifted = torch.fft.ifftshift(mask**2, dim=1)

    def gram(v):
        return torch.fft.ifft(shifted * torch.fft.fft(v, dim=1), dim=1)

    def total(v):
        return v.sum((1, 2), keepdim=True)

    def loss():
        rhs = signs * torch.fft.ifft2(signs * mask * b) * (ny * nx) ** 0.5
        g = rhs * (total(rhs.abs() ** 2) / total((rhs.conj() * gram(rhs)).real))
        size = (total(g.abs() ** 2) / (ny * nx)).sqrt()
        bright = total(g / size * (g.abs() / size))
        scale = size * bright / bright.abs()
        rhs, image = rhs / scale, torch.zeros_like(rhs)
        steps = 1 / (1 + noise.exp())
        for k in range(len(steps)):
            image = image - steps[k] * (gram(image) - rhs)
            h = parts = torch.stack([image.real, image.imag], 1)
            for layer in range(depth):
                h = F.conv2d(h, kernels[layer][k], biases[layer][k], padding=1)
                h = F.relu(h) if layer < depth - 1 else h
            h = parts + h
            image = torch.complex(h[:, 0], h[:, 1])
        return ((scale * image - x).abs() ** 2).mean()

    first = loss().detach().numpy()

    def run():
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        return first

    return run


if __name__ == "__main__":
    serve("torch", {"unrolled": unrolled}, ("torch", "numpy"))
